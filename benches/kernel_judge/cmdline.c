/* The kernel's next_arg (lib/cmdline.c) and parse_args (kernel/params.c): the parameters of a line.
 * The answer: how many there are before "--", each as its name, "=" or "", and its value; then
 * everything else on the line in the same way; and for the first two names whether they are the same. */
#include "judge.h"
#include <lib/cmdline.c>
#include <lib/ctype.c>
#include <params-part.c>

static void add_parameter(const char *name, const char *value)
{
	add_text(name);
	add_text(value ? "=" : "");
	add_text(value ? value : "");
}

static int count;

static int take(char *name, char *value, const char *doing, void *out)
{
	if (out)
		add_parameter(name, value);
	count++;
	return 0;
}

static void judge(char *input, size_t size)
{
	char *first = NULL, *again = strdup(input), *rest, *name, *value;

	count = 0;
	parse_args("counting", again, NULL, 0, 0, 0, NULL, take);
	free(again);
	add_number(count);
	rest = parse_args("judging", input, NULL, 0, 0, 0, &count, take);
	if (!rest)
		rest = input + strlen(input);
	while (rest && *rest) {
		rest = next_arg(rest, &name, &value);
		add_parameter(name, value);
		if (first)
			add_text(parameq(first, name) ? "same" : "other");
		first = name;
	}
}

int main(void)
{
	return judge_all();
}
