/* An ordinary file, mapped and written back by msync: `crashsim run --persist page` knows what a
 * disk may have of it. */
#include <crashsim.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATH  "crashsim-example-mmap.db"
#define PAGE  4096
#define BYTES ((size_t)3 * PAGE)

/* Two copies of the record, each in a page of its own; the header's page says which one counts. */
struct file {
	char header[PAGE];
	char copy[2][PAGE];
};

static struct file *file_open(void)
{
	int fd = open(PATH, O_RDWR | O_CREAT, 0600);
	struct file *file = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, BYTES) == 0)
		file = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED) {
		perror(PATH);
		exit(1);
	}
	close(fd);
	return file;
}

static void save(struct file *file, const char *text)
{
	int next = !file->header[0];

	memset(file->copy[next], 0, PAGE);
	strcpy(file->copy[next], text);
	strcpy(file->copy[next] + 2048, text);  /* the end, in another sector */
	msync(file->copy[next], PAGE, MS_SYNC); /* leave this out, and crashsim finds it */
	file->header[0] = (char)next;
	msync(file->header, PAGE, MS_SYNC);
}

/* ---- what crashsim is to do with it ---- */

static void setup(void *pm)
{
	struct file *file = file_open();

	(void)pm;
	save(file, "first");
	munmap(file, BYTES);
}

static void run(void *pm)
{
	struct file *file = file_open();

	(void)pm;
	crashsim_begin(1);
	save(file, "second");
	crashsim_returned(1);
	crashsim_begin(2);
	save(file, "third");
	crashsim_returned(2);
	munmap(file, BYTES);
}

static void check(void *pm)
{
	static const char *const text[] = { "first", "second", "third" };
	struct file *file = file_open();
	const char *copy = file->copy[(int)file->header[0]];
	unsigned i = 0;

	(void)pm;
	while (i < 3 && (strcmp(copy, text[i]) || strcmp(copy + 2048, text[i])))
		i++;
	if (i == 3)
		crashsim_fail("the record is none that was saved");
	for (unsigned op = 1; op <= 2; op++) {
		if (crashsim_state(op) == CRASHSIM_RETURNED && i < op)
			crashsim_fail("save %u had returned, and the record is an older one", op);
	}
	munmap(file, BYTES);
}

CRASHSIM_WORKLOAD(mmap_file, .setup = setup, .run = run, .check = check)
