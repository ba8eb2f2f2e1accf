#!/bin/sh
# execgate-put: writes its standard input to a file, whole and checked or not at all.
#
#   sh -c SCRIPT execgate-put PATH SIZE SHA256 MODE MODE_IF_NEW PARENTS NONCE
#
# Run by the clients as one argv execution with an open or inline stdin, beside the
# session's shell; relative paths are relative to the directory it runs in. Lines that
# begin with `#` and empty ones are not sent. The same file is in both clients.
#
#   PATH         the file. A symbolic link is written through, never replaced.
#   SIZE         how many bytes stdin has, in decimal
#   SHA256       their SHA-256, 64 lower case hexadecimal digits
#   MODE         its mode, in octal. Empty: that of the file which is replaced, without
#                set-id bits, or MODE_IF_NEW.
#   MODE_IF_NEW  mode of a new file, in octal. Empty: 0666 without the umask.
#   PARENTS      `parents`: missing directories are made. Empty: they are an error.
#   NONCE        part of the temporary file's name: letters and digits nobody can guess
#
# The bytes go into `.execgate-put-NONCE` beside the target (mode 0600, made
# exclusively), are counted and hashed there, and renamed over the target. A failure, or
# a signal that can be caught, removes it and the directories made for it; the old file
# stays as it was.
#
# On success stdout is one line, `execgate-put SIZE MODE CHECK`. MODE is `-` where it
# cannot be told. CHECK is `sha256`, or `size` where the target has no sha256sum. Else
# stderr says what is wrong in words, and the exit code for programs:
#
#   64  the arguments are wrong
#   65  PATH is a directory, or something else that is no regular file
#   66  the directory is missing, or cannot be made
#   67  the directory cannot be written to
#   68  stdin did not have SIZE bytes
#   69  what was written does not have that SHA-256
#   70  writing failed, e.g. because the disk is full
#   71  setting the mode failed, or renaming
#   72  too many symbolic links
#   129, 130, 143  SIGHUP, SIGINT, SIGTERM

# Before the session's own PATH, in which an agent may have put anything.
PATH=/usr/bin:/bin:/usr/sbin:/sbin:${PATH-}
LC_ALL=C
export PATH LC_ALL
temporary=
made=
above=

clean() {
    if [ -n "$temporary" ]; then
        # Not rm: a policy that denies it means other files than this one.
        unlink "$temporary" 2>/dev/null
        temporary=
    fi
    while [ "$made" != "$above" ]; do
        rmdir "$made" 2>/dev/null
        made=${made%/*}
    done
}

fail() {
    printf 'execgate-put: %s\n' "$2" >&2
    clean
    exit "$1"
}

trap 'clean; exit 129' HUP
trap 'clean; exit 130' INT
trap 'clean; exit 143' TERM

[ "$#" -eq 7 ] || fail 64 "expected 7 arguments, got $#"
path=$1
mode=$4
case $path in
'' | */) fail 65 'the path names no file' ;;
/*) ;;
# No path begins with a dash then, and every one has a slash.
*) path=./$path ;;
esac

links=0
while [ -L "$path" ]; do
    links=$((links + 1))
    [ "$links" -le 40 ] || fail 72 'too many symbolic links'
    # The dot keeps line feeds at the end of a name.
    link=$(readlink "$path" && printf .) || fail 72 'cannot read the symbolic link'
    link=${link%??}
    case $link in
    /*) path=$link ;;
    *) path=${path%/*}/$link ;;
    esac
done
if [ -d "$path" ]; then
    fail 65 'the path is a directory'
elif [ -e "$path" ] && [ ! -f "$path" ]; then
    fail 65 'the path is not a regular file'
fi

directory=${path%/*}
directory=${directory:-/}
if [ ! -d "$directory" ]; then
    [ "$6" = parents ] || fail 66 "there is no directory $directory"
    above=$directory
    while [ ! -d "${above:-/}" ]; do
        above=${above%/*}
    done
    made=$directory
    mkdir -p "$directory" || fail 66 "cannot make the directory $directory"
fi

if [ -z "$mode" ] && [ -e "$path" ]; then
    mode=$(stat -c %a "$path" 2>/dev/null || stat -f %Lp "$path" 2>/dev/null)
    case $mode in
    # A write would take the set-id bits away too.
    ????) mode=${mode#?} ;;
    esac
fi
mode=${mode:-$5}

mask=$(umask)
umask 077
# Makes `>` exclusive: what exists, also a link, is neither followed nor overwritten.
set -C
temporary=$directory/.execgate-put-$7
if ! cat >"$temporary"; then
    [ -e "$temporary" ] || fail 67 "cannot write in the directory $directory"
    fail 70 'writing failed'
fi

size=$(wc -c <"$temporary")
[ "$size" -eq "$2" ] || fail 68 "expected $2 bytes, got $size"
check=size
if command -v sha256sum >/dev/null; then
    check=sha256
    sum=$(sha256sum <"$temporary")
    sum=${sum%% *}
    [ "$sum" = "$3" ] || fail 69 "expected SHA-256 $3, got $sum"
fi

umask "$mask"
# Without a `u`, `g`, `o` or `a`, `=` leaves out what the umask does.
chmod "${mode:-=rw}" "$temporary" || fail 71 'cannot set the mode'
mode=$(stat -c %a "$temporary" 2>/dev/null || stat -f %Lp "$temporary" 2>/dev/null)
mv -f "$temporary" "$path" || fail 71 'cannot rename'
printf 'execgate-put %d %s %s\n' "$size" "${mode:--}" "$check"
