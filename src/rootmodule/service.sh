#!/system/bin/sh
# Run by Magisk, KernelSU or APatch in late_start, which is before Android is up.
# Nothing waits for this script.
MODDIR=${0%/*}
ADB=${MODDIR%/modules/*}
vfiorun=$MODDIR/system/bin/vfiorun
log=$ADB/vfioboot/autostart.log

# Managers that do not mount system/ have a directory of commands: make a link there.
for commands in "$ADB/ksu/bin" "$ADB/ap/bin"; do
    [ ! -d "$commands" ] || ln -sf "$MODDIR"/system/bin/* "$commands/"
done

mkdir -p "$ADB/vfioboot"
# Keep the log of the previous boot.
[ ! -f "$log" ] || mv -f "$log" "$log.old"

(
    seconds=0
    until [ "$(getprop sys.boot_completed)" = 1 ]; do
        if [ "$seconds" -ge 900 ]; then
            echo "Android is not up after 15 minutes (sys.boot_completed): nothing is started"
            exit 1
        fi
        sleep 2
        seconds=$((seconds + 2))
    done
    echo "Android is up after $seconds seconds of waiting"
    "$vfiorun" autostart --at-boot "$ADB/vfioboot/guests"
    echo "vfiorun autostart ended with status $?"
) > "$log" 2>&1 < /dev/null &
