/* skip_spaces and strim, as lib/string_helpers.c has them. */
#include "shim.h"
#include <linux/ctype.h>

char *skip_spaces(const char *text)
{
	while (isspace(*text))
		++text;
	return (char *)text;
}

char *strim(char *text)
{
	size_t size = strlen(text);
	char *end;

	if (!size)
		return text;
	end = text + size - 1;
	while (end >= text && isspace(*end))
		end--;
	*(end + 1) = '\0';
	return skip_spaces(text);
}
