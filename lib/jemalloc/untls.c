/* SPDX-License-Identifier: BSD-3-Clause */
/* untls -- untls OBJECT SYMBOL OFFSET: in a relocatable object, SYMBOL stops being a variable of
 * each thread.  A build tool; what for: one_thread.c.
 *
 * Code of the initial-exec model adds the thread pointer to a number that it loads from SYMBOL's
 * entry in the global offset table.  Afterwards it loads the number from the variable OFFSET: the
 * relocation's place and addend stay, the instructions too, whichever they are.  SYMBOL's initial
 * value becomes plain data.  An access of another kind is refused.
 * SOURCES: System V ABI, AMD64 supplement, section 4.4.1; Drepper, ELF handling for TLS, 4.4.6. */
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char *file;
static Elf64_Shdr *section;
static size_t n_sections;
static Elf64_Sym *symbol;
static size_t n_symbols;
static const char *names;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("untls: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void object_map(const char *path)
{
	int fd = open(path, O_RDWR);
	struct stat st;
	const Elf64_Ehdr *head;

	if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size < sizeof(*head))
		fail("cannot read %s", path);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		fail("cannot map %s", path);
	head = (const void *)file;
	if (memcmp(file, ELFMAG, SELFMAG) != 0 || head->e_type != ET_REL ||
	    head->e_machine != EM_X86_64)
		fail("%s: not a relocatable object for x86-64", path);
	section = (void *)(file + head->e_shoff);
	n_sections = head->e_shnum;
	for (size_t i = 0; i < n_sections; i++) {
		if (section[i].sh_type != SHT_SYMTAB)
			continue;
		symbol = (void *)(file + section[i].sh_offset);
		n_symbols = section[i].sh_size / sizeof(*symbol);
		names = (const char *)file + section[section[i].sh_link].sh_offset;
	}
}

static size_t symbol_find(const char *name)
{
	for (size_t i = 0; i < n_symbols; i++) {
		if (strcmp(names + symbol[i].st_name, name) == 0)
			return i;
	}
	fail("no symbol %s", name);
}

int main(int argc, char **argv)
{
	size_t old, new, n = 0;

	if (argc != 4)
		fail("untls OBJECT SYMBOL OFFSET");
	object_map(argv[1]);
	old = symbol_find(argv[2]);
	new = symbol_find(argv[3]);
	for (size_t i = 0; i < n_sections; i++) {
		Elf64_Rela *rela = (void *)(file + section[i].sh_offset);

		for (size_t j = 0;
		     section[i].sh_type == SHT_RELA && j < section[i].sh_size / sizeof(*rela);
		     j++) {
			size_t sym = ELF64_R_SYM(rela[j].r_info);

			if (ELF64_ST_TYPE(symbol[sym].st_info) != STT_TLS)
				continue;
			if (sym != old || ELF64_R_TYPE(rela[j].r_info) != R_X86_64_GOTTPOFF)
				fail("relocation %lu of %s", ELF64_R_TYPE(rela[j].r_info),
				     names + symbol[sym].st_name);
			rela[j].r_info = ELF64_R_INFO(new, R_X86_64_PC32);
			n++;
		}
	}
	if (n == 0)
		fail("no access to %s", argv[2]);
	if (symbol[old].st_shndx == SHN_UNDEF || symbol[old].st_shndx >= n_sections)
		fail("%s is not defined", argv[2]);
	section[symbol[old].st_shndx].sh_flags &= ~(Elf64_Xword)SHF_TLS;
	for (size_t i = 0; i < n_symbols; i++) {
		if (ELF64_ST_TYPE(symbol[i].st_info) == STT_TLS && i != old)
			fail("%s is of each thread, too", names + symbol[i].st_name);
	}
	symbol[old].st_info =
		(unsigned char)ELF64_ST_INFO(ELF64_ST_BIND(symbol[old].st_info), STT_OBJECT);
	return 0;
}
