#!/bin/sh
# execgate-get: writes a file to its standard output, and says what it should have been.
#
#   sh -c SCRIPT execgate-get PATH
#
# Run by the clients as one argv execution, beside the session's shell; relative paths
# are relative to the directory it runs in. Lines that begin with `#` and empty ones are
# not sent. The same file is in both clients.
#
# stdout is the file's bytes and nothing else. After them the last line of stderr is
# `execgate-get SIZE MODE SHA256`: the bytes of the file, in decimal; its permissions, in
# octal, or `-` where they cannot be told; its SHA-256, or `-` where the target has no
# sha256sum. They are taken after the bytes were read, so that a reader who has other
# bytes than these knows that the file changed meanwhile, or its bytes did on the way.
# Otherwise stderr says what is wrong in words, and the exit code for programs:
#
#   64  the arguments are wrong
#   65  PATH is a directory, or something else that is no regular file
#   66  there is no such file
#   67  it may not be read
#   70  reading failed

# Before the session's own PATH, in which an agent may have put anything.
PATH=/usr/bin:/bin:/usr/sbin:/sbin:${PATH-}
LC_ALL=C
export PATH LC_ALL

fail() {
    printf 'execgate-get: %s\n' "$2" >&2
    exit "$1"
}

[ "$#" -eq 1 ] || fail 64 "expected 1 argument, got $#"
path=$1
case $path in
'') fail 66 'the path is empty' ;;
/*) ;;
# No path begins with a dash then.
*) path=./$path ;;
esac
if [ -d "$path" ]; then
    fail 65 'the path is a directory'
elif [ ! -e "$path" ]; then
    fail 66 'there is no such file'
elif [ ! -f "$path" ]; then
    fail 65 'the path is not a regular file'
elif [ ! -r "$path" ]; then
    fail 67 'the file may not be read'
fi

cat "$path" || fail 70 'reading failed'
size=$(wc -c <"$path") || fail 70 'the file went away while it was read'
mode=$(stat -L -c %a "$path" 2>/dev/null || stat -L -f %Lp "$path" 2>/dev/null)
sum=-
if command -v sha256sum >/dev/null; then
    sum=$(sha256sum <"$path")
    sum=${sum%% *}
fi
printf 'execgate-get %d %s %s\n' "$size" "${mode:--}" "${sum:--}" >&2
