#include "../shim.h"

#define get_unaligned(pointer) ({ __typeof__(*(pointer) + 0) value; memcpy(&value, pointer, sizeof *(pointer)); value; })
#define put_unaligned(value, pointer) ({ __typeof__(*(pointer) + 0) bytes = (value); memcpy(pointer, &bytes, sizeof bytes); })
#define get_unaligned_le16(pointer) get_unaligned((const u16 *)(pointer))
#define get_unaligned_le32(pointer) get_unaligned((const u32 *)(pointer))
#define put_unaligned_le16(value, pointer) put_unaligned(value, (u16 *)(pointer))
