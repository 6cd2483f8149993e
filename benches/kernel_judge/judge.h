/* What the judges share: they read inputs from standard input, each a length of four bytes
 * (little-endian) and its bytes, and write answers in the same form. An answer is a list of texts,
 * each with its length. */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text ends with a NUL. An initrd is not the end of memory: decoders read on behind it. */
#define BEHIND (16 << 20)

static char *answer;
static size_t answer_size, answer_room;

static void add(const void *bytes, size_t size)
{
	uint32_t length = size;

	if (answer_size + 4 + size > answer_room) {
		answer_room = 2 * (answer_size + 4 + size);
		answer = realloc(answer, answer_room);
		if (!answer)
			abort();
	}
	memcpy(answer + answer_size, &length, 4);
	memcpy(answer + answer_size + 4, bytes, size);
	answer_size += 4 + size;
}

static void __attribute__((unused)) add_text(const char *text)
{
	add(text, strlen(text));
}

static void __attribute__((unused)) add_number(unsigned long long number)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", number);
	add_text(text);
}

static void judge(char *input, size_t size);

static bool whole(void *bytes, size_t size)
{
	return fread(bytes, 1, size, stdin) == size;
}

static int judge_all(void)
{
	uint32_t size;

	while (whole(&size, 4)) {
		char *input = calloc(1, (size_t)size + BEHIND);

		if (!input || !whole(input, size))
			return 1;
		answer_size = 0;
		judge(input, size);
		free(input);
		size = answer_size;
		fwrite(&size, 1, 4, stdout);
		fwrite(answer, 1, answer_size, stdout);
		fflush(stdout);
	}
	return 0;
}

#endif
