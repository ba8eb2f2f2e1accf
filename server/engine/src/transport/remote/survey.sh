# What a session needs to know of the machine it is to run on. POSIX sh, in the
# environment that the target gives a login.
[ -d "${HOME:-}" ] || HOME=/
printf 'home %s\n' "$HOME"
printf 'path %s\n' "${PATH:-}"
printf 'user %s\n' "${USER:-${LOGNAME:-}}"
printf 'lang %s\n' "${LANG:-}"
printf 'inputs'
for dir in "${XDG_RUNTIME_DIR:-/nowhere}" /dev/shm /tmp /var/tmp "$HOME"; do
    [ -d "$dir" ] && [ -w "$dir" ] && printf ' %s' "$dir"
done
printf '\n'
printf 'missing'
for program in cat env grep kill mkfifo readlink rm sleep tr; do
    command -v "$program" >/dev/null 2>&1 || printf ' %s' "$program"
done
[ -r /proc/self/stat ] || printf ' /proc'
printf '\n'
read -r up _ 2>/dev/null </proc/uptime && printf 'uptime %s\n' "$up"
