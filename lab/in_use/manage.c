/* manage NODE CONTROLLER ACTION RESOURCE COUNT: the Virtualization Management command of NVMe (5.27 of
 * NVM Express 2.0), which gives the resources of a physical function to its virtual ones. */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    int file = open(argv[1], O_RDWR);
    unsigned controller = strtoul(argv[2], NULL, 0), action = strtoul(argv[3], NULL, 0);
    unsigned resource = strtoul(argv[4], NULL, 0), count = strtoul(argv[5], NULL, 0);
    struct nvme_admin_cmd command = {
        .opcode = 0x1c,
        .cdw10 = controller << 16 | resource << 8 | action,
        .cdw11 = count,
    };
    int status = ioctl(file, NVME_IOCTL_ADMIN_CMD, &command);
    if (status)
        fprintf(stderr, "%s: controller %u, action %u, resource %u: %d\n", argv[1], controller, action,
                resource, status);
    return status ? 1 : 0;
}
