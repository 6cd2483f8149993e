/*
 * edu.c: makes QEMU's edu device (docs/specs/edu.txt) copy memory, from user space.
 *   edu DEVICE inside           within its own memory; ends with 0 if the bytes were copied
 *   edu DEVICE write ADDRESS    two kilobytes of 0x5a to a physical address
 * DEVICE is its directory in sysfs.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* the buffer has one page; QEMU 7.2 treats its last byte as out of bounds */
enum { PAGE = 4096, SIZE = 2048, BUFFER = 0x40000 };
enum { REG_ID = 0x00, REG_SOURCE = 0x80, REG_TARGET = 0x88, REG_COUNT = 0x90, REG_COMMAND = 0x98 };
enum { RUN = 1, TO_MEMORY = 2 };

static volatile uint8_t *registers;

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static int open_in(const char *directory, const char *name, int flags)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, flags);
    if (file < 0)
        fail(path);
    return file;
}

static void set(unsigned offset, uint64_t value)
{
    *(volatile uint64_t *)(registers + offset) = value;
}

static void copy(uint64_t source, uint64_t target, uint64_t direction)
{
    set(REG_SOURCE, source);
    set(REG_TARGET, target);
    set(REG_COUNT, SIZE);
    set(REG_COMMAND, RUN | direction);
    while (*(volatile uint64_t *)(registers + REG_COMMAND) & RUN)
        usleep(10000);
}

static uint64_t physical(void *page)
{
    uint64_t entry;
    int map = open_in("/proc/self", "pagemap", O_RDONLY);
    if (pread(map, &entry, sizeof entry, (uintptr_t)page / PAGE * sizeof entry) != sizeof entry)
        fail("pagemap");
    close(map);
    return (entry & ((1ULL << 55) - 1)) * PAGE;
}

static uint8_t *new_page(int byte)
{
    uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (page == MAP_FAILED || mlock(page, PAGE))
        fail("a page of memory");
    memset(page, byte, PAGE);
    return page;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    /* memory space and bus master */
    uint16_t command = 6;
    int config = open_in(argv[1], "config", O_RDWR);
    if (pwrite(config, &command, sizeof command, 4) != sizeof command)
        fail("the command register");
    int bar = open_in(argv[1], "resource0", O_RDWR | O_SYNC);
    registers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
    if (registers == MAP_FAILED)
        fail("the registers");
    if ((*(volatile uint32_t *)(registers + REG_ID) & 0xff) != 0xed) {
        fputs("this is not an edu device\n", stderr);
        return 2;
    }
    uint8_t *source = new_page(0x5a), *target = new_page(0);
    copy(physical(source), BUFFER, 0);
    if (argc > 3 && !strcmp(argv[2], "write")) {
        copy(BUFFER, strtoull(argv[3], NULL, 0), TO_MEMORY);
        return 0;
    }
    copy(BUFFER, physical(target), TO_MEMORY);
    return memcmp(source, target, SIZE) != 0;
}
