// A table of names in C++: what the compiler makes of copies and of std::copy is seen, too.
#include <algorithm>
#include <array>
#include <atomic>
#include <crashsim.h>
#include <string>

namespace
{

struct alignas(64) Entry {
	std::array<char, 24> name;
	std::uint64_t value;
};

class Table
{
      public:
	bool insert(const std::string &name, std::uint64_t value)
	{
		const auto n = count.load();
		Entry entry{};

		if (n == entries.size() || name.size() >= entry.name.size())
			return false;
		std::copy(name.begin(), name.end(), entry.name.begin());
		entry.value = value;
		entries[n] = entry;
		persist(&entries[n]); // leave this out, and crashsim finds it
		count.store(n + 1, std::memory_order_release);
		persist(&count);
		return true;
	}

	const Entry *find(const std::string &name) const
	{
		for (std::uint64_t i = 0; i < count.load(); i++) {
			if (name == entries[i].name.data())
				return &entries[i];
		}
		return nullptr;
	}

      private:
	static void persist(const void *line)
	{
		CRASHSIM_CLWB(line);
		CRASHSIM_SFENCE();
	}

	std::atomic<std::uint64_t> count;
	std::array<Entry, 7> entries;
};

const std::array<std::string, 3> names = { "one", "two", "three" };

void run(void *pm)
{
	auto *table = static_cast<Table *>(pm);

	for (unsigned i = 0; i < names.size(); i++) {
		crashsim_begin(i);
		table->insert(names[i], i + 1);
		crashsim_returned(i);
	}
}

void check(void *pm)
{
	const auto *table = static_cast<const Table *>(pm);

	for (unsigned i = 0; i < names.size(); i++) {
		const auto *entry = table->find(names[i]);

		if (!entry && crashsim_state(i) == CRASHSIM_RETURNED)
			crashsim_fail("'%s' was inserted, and is not there", names[i].c_str());
		if (entry && entry->value != i + 1)
			crashsim_fail("'%s' has a wrong value", names[i].c_str());
	}
}

} // namespace

CRASHSIM_WORKLOAD(table, .about = "a table of names", .bytes = sizeof(Table), .run = run,
		  .check = check)
