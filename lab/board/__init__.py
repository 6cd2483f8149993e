"""The emulated board of the tutorial: an arm64 machine with an NVMe disk, an SMMUv3 and EL2, for people.

python3 lab/board make DIR               its images, disks and kernels
python3 lab/board start DIR [IMAGE]      start it with boot.img, or another image, and log in
"""
