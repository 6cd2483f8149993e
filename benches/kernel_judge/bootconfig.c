/* The kernel's lib/bootconfig.c: what it makes of a text. The answer: "ok", "empty" or "error"; then
 * the number of nodes, and for each key it, the number of its values, and these. */
#include "judge.h"
#include <lib/bootconfig.c>
#include <lib/ctype.c>

/* As xbc_node_compose_key, which gives up at XBC_DEPTH_MAX words. */
static void whole_key(struct xbc_node *node, char *out)
{
	struct xbc_node *parent = xbc_node_get_parent(node);

	*out = '\0';
	if (parent) {
		whole_key(parent, out);
		strcat(out, ".");
	}
	strcat(out, xbc_node_get_data(node));
}

static void judge(char *input, size_t size)
{
	static char key[64 << 10];
	struct xbc_node *leaf = NULL, *value;
	const char *message, *text;
	int position, nodes = xbc_init(input, size, &message, &position);
	unsigned count;

	if (nodes < 0) {
		/* a text without a key is one that says nothing */
		add_text(nodes == -ENOENT || size == 0 ? "empty" : "error");
		return;
	}
	add_text("ok");
	add_number(nodes);
	xbc_for_each_key_value(leaf, text) {
		whole_key(leaf, key);
		add_text(key);
		count = 0;
		value = xbc_node_get_child(leaf);
		if (value)
			xbc_array_for_each_value(value, text) count++;
		add_number(count);
		value = xbc_node_get_child(leaf);
		if (value)
			xbc_array_for_each_value(value, text) add_text(text);
	}
	_xbc_exit(true);
}

int main(void)
{
	return judge_all();
}
