#!/bin/sh
# nslab dump-node: what this node would do to a packet. Run it as root; it reads, and changes nothing of the network.
#
#     nslab dump-node | ssh NODE sudo sh | tar x      makes ./nslab-dump-NODE here
#     sh dump-node.sh FOLDER                          makes FOLDER on the node
#
# It needs sh and what the node has: what is missing is named in the file `notes`. Programs that load their kernel module
# (ipset, ipvsadm, iptables-legacy-save) run only if it is loaded.
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL PATH
umask 077
name=$(uname -n | tr -cd 'A-Za-z0-9._-')
: "${name:=node}"

if [ $# -gt 0 ]; then
    folder=$1
    mkdir "$folder" || exit 1
elif [ -t 1 ]; then
    echo "send this into tar: nslab dump-node | ssh NODE sudo sh | tar x" >&2
    exit 2
elif ! command -v tar > /dev/null 2>&1; then
    echo "there is no tar here: sh dump-node.sh FOLDER makes a folder" >&2
    exit 1
else
    above=$(mktemp -d) || exit 1
    trap 'rm -rf "$above"' EXIT
    trap 'exit 1' HUP INT TERM
    folder=$above/nslab-dump-$name
    mkdir "$folder" || exit 1
fi

note() {
    echo "$1" >> "$folder/notes"
}

# save FILE PROGRAM WORD...: what the program prints.
save() {
    file=$1
    shift
    if ! command -v "$1" > /dev/null 2>&1; then
        note "$file: there is no $1"
        return
    fi
    "$@" > "$folder/$file" 2> "$folder/error" < /dev/null ||
        note "$file: $* ended with status $?: $(head -n 1 "$folder/error")"
    [ -s "$folder/$file" ] || rm -f "$folder/$file"
}

# used FILE PATH...: whether the kernel has one of the paths.
used() {
    file=$1
    shift
    for path in "$@"; do
        [ -e "$path" ] && return
    done
    note "$file: not taken, for the kernel does not use it"
    return 1
}

echo 1 > "$folder/format"
echo "$name" > "$folder/hostname"
: > "$folder/notes"
[ "$(id -u)" = 0 ] || note "all: not taken by root, so much is missing"

save iptables-version iptables --version
save iptables-save iptables-save
save iptables-nft-save iptables-nft-save
if [ -n "$(cat /proc/net/ip_tables_names 2> /dev/null)" ]; then
    save iptables-legacy-save iptables-legacy-save
fi
save ip6tables-save ip6tables-save
used ipset-save /sys/module/ip_set && save ipset-save ipset save
save nft.json nft -j list ruleset
used ipvsadm-save /proc/net/ip_vs && save ipvsadm-save ipvsadm -Sn

save addr.json ip -j addr
save link.json ip -d -j link
save rule.json ip -j rule
save route.json ip -4 -j route show table all
save neigh.json ip -j neigh
save netconf.json ip -j netconf
save fdb.json bridge -j fdb
save ss ss -ltnuH
save sysctl sh -c 'sysctl -a 2> /dev/null | grep "^net\."'
used conntrack /proc/sys/net/netfilter/nf_conntrack_count && command -v conntrack > /dev/null &&
    save conntrack sh -c 'conntrack -L 2> /dev/null | head -n 100000'
rm -f "$folder/error"

if [ -n "${above:-}" ]; then
    tar -C "$above" -cf - "nslab-dump-$name"
fi
exit 0
