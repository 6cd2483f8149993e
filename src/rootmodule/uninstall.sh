#!/system/bin/sh
# Run by Magisk, KernelSU or APatch when the module is removed. Guest files and logs in
# /data/adb/vfioboot are kept.
MODDIR=${0%/*}
ADB=${MODDIR%/modules/*}
for commands in "$ADB/ksu/bin" "$ADB/ap/bin"; do
    link=$commands/vfiorun
    [ ! -L "$link" ] || rm -f "$link"
done
