/*
 * pvpanic.c: reports a panic through QEMU's pvpanic-pci (docs/specs/pvpanic.rst), as the driver does.
 *   pvpanic DEVICE    its directory in sysfs
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

enum { PANICKED = 1 };

int main(int argc, char **argv)
{
    char path[256];
    snprintf(path, sizeof path, "%s/resource0", argc > 1 ? argv[1] : ".");
    int file = open(path, O_RDWR);
    void *events = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || events == MAP_FAILED) {
        perror(path);
        return 2;
    }
    *(volatile uint8_t *)events = PANICKED;
    return 0;
}
