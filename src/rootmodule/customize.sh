# shellcheck shell=sh
# Sourced by the installer of Magisk, KernelSU or APatch when the module's files are in $MODPATH.

# shellcheck disable=SC2154 # MODPATH and ARCH are the installer's
case $ARCH in
    @ARCH@) ;;
    *) abort "! This module is for @ARCH@, the device is $ARCH: make one for it with vfioboot module" ;;
esac

vfiorun=$MODPATH/system/bin/vfiorun
for program in "$MODPATH"/system/bin/*; do
    set_perm "$program" 0 2000 0755
done
for script in service.sh uninstall.sh; do
    set_perm "$MODPATH/$script" 0 0 0755
done
"$vfiorun" --version > /dev/null 2>&1 || abort "! vfiorun does not run on this device"

# modules_update/vfiorun or modules/vfiorun, below the same directory
home=${MODPATH%/modules*}/vfioboot
guests=$home/guests
mkdir -p "$guests"
chmod 0700 "$home" "$guests"
for file in "$MODPATH"/guests/*.toml; do
    name=${file##*/}
    if [ ! -e "$guests/$name" ]; then
        cp "$file" "$guests/$name"
        ui_print "- Guest file: $guests/$name"
    elif ! cmp -s "$file" "$guests/$name"; then
        cp "$file" "$guests/$name.new"
        ui_print "- $guests/$name is kept; the file of this module is $name.new"
    fi
done
ui_print "- Guests in $guests with autostart = true start after boot"
ui_print "- After a reboot: su -c vfiorun doctor"
if [ -e "$MODPATH/system/bin/vfioboot" ]; then
    ui_print "- To patch this device: su -c vfioboot patch /dev/block/by-name/boot... --device ... --install"
fi
