# Looks at the processes of a session and signals them, from beside it. POSIX sh; builtins
# and /proc alone where it can be, since a fork for each process would cost more than all
# the rest. Run by /bin/sh with a PATH of its own, never by the session's shell.

# look PID: what its stat says; fails where it is gone.
look() {
    text=
    { while IFS= read -r line || [ -n "$line" ]; do text="$text$line "; done; } \
        2>/dev/null <"/proc/$1/stat" || return 1
    # A command's name may hold anything, also spaces and parentheses.
    text=${text##*) }
    [ -n "$text" ] || return 1
    # shellcheck disable=SC2086 # the fields are words
    set -- $text
    state=$1 ppid=$2 pgrp=$3 tty=$5 tpgid=$6 started=${20}
}

# children PID: the direct children of all its threads, in `kids`.
children() {
    kids=
    if [ -e "/proc/$$/task/$$/children" ]; then
        for task in "/proc/$1/task/"*/children; do
            some=
            read -r some 2>/dev/null <"$task"
            kids="$kids $some"
        done
    else
        for dir in /proc/[0-9]*; do
            look "${dir#/proc/}" && [ "$ppid" = "$1" ] && kids="$kids ${dir#/proc/}"
        done
    fi
}

# descend PID...: all descendants, parents before children, in `kin`.
descend() {
    kin=
    queue=$*
    while [ -n "$queue" ]; do
        next=
        for parent in $queue; do
            children "$parent"
            for kid in $kids; do
                case " $kin " in
                *" $kid "*) ;;
                *) kin="$kin $kid" next="$next $kid" ;;
                esac
            done
        done
        queue=$next
    done
}

# dies PID NUMBER: whether it does nothing about a signal, and so dies of it.
dies() {
    handled=0
    while read -r name value; do
        case $name in
        # Eight digits hold the 32 signals that are not real-time ones.
        SigBlk: | SigIgn: | SigCgt:) handled=$((handled | 0x${value#????????})) ;;
        esac
    done 2>/dev/null <"/proc/$1/status"
    [ $((handled >> ($2 - 1) & 1)) = 0 ]
}

group() {
    look "$1" || return 1
    [ "$tpgid" -gt 0 ] && pgrp=$tpgid
    return 0
}

# now: the time since boot in hundredths of a second, in `ticks`.
now() {
    read -r up _ </proc/uptime
    ticks=$((${up%.*} * 100 + 1${up#*.} - 100))
}

# signal PID SCOPE NUMBER OLDEST: says how many were reached; of the young, those that
# began at OLDEST, in hundredths of a second since boot, or later.
signal() {
    count=0
    case $2 in
    program) kill -"$3" "$1" 2>/dev/null && count=1 ;;
    foreground) group "$1" && kill -"$3" "-$pgrp" 2>/dev/null && count=1 ;;
    again)
        group "$1" || return
        front=$pgrp deaf=
        descend "$1"
        for pid in $kin; do
            look "$pid" && [ "$pgrp" = "$front" ] && [ "$state" != Z ] && dies "$pid" "$3" && deaf=yes
        done
        [ -n "$deaf" ] && kill -"$3" "-$front" 2>/dev/null && count=1
        ;;
    young)
        # What is below 0 was said as an age, by who did not know the time here.
        oldest=$4
        [ "$oldest" -ge 0 ] || { now && oldest=$((ticks + oldest)); }
        descend "$1"
        for pid in $kin; do
            look "$pid" && [ "$state" != Z ] && [ "$started" -ge "$oldest" ] || continue
            kill -"$3" "$pid" 2>/dev/null && count=$((count + 1))
        done
        ;;
    esac
    echo "$count"
}

# inspect PID INPUT: its state, the number of its children, and whether it waits for its
# next command: `reading`, `elsewhere`, or `unseen` where the kernel does not show it. INPUT
# is the path of the pipe that its commands come from, where that has one.
inspect() {
    look "$1" || return
    was=$state
    children "$1"
    # shellcheck disable=SC2086 # counted
    set -- "$1" "$2" $kids
    echo "$was $(($# - 2)) $(waits "$1" "$2")"
}

waits() {
    call='' place=''
    read -r call 2>/dev/null <"/proc/$1/syscall"
    read -r place 2>/dev/null <"/proc/$1/wchan"
    case $call in
    # read(2) on x86-64 and on aarch64; the descriptor is the first argument.
    '0 0x'* | '63 0x'*)
        call=${call#* }
        link=$(readlink "/proc/$1/fd/$((${call%% *}))")
        case $link in
        'socket:'* | 'pipe:'*) echo reading ;;
        "$2" | "$2 (deleted)") echo reading ;;
        *) echo elsewhere ;;
        esac
        ;;
    '')
        case $place in
        unix_stream_*) echo reading ;;
        *) echo unseen ;;
        esac
        ;;
    *) echo elsewhere ;;
    esac
}

# awaits PID INPUT: whether PID or what is below it waits for INPUT, which is `stdin` (the one
# of PID), `terminal` (the one of PID) or the path of a pipe: `observed`, in a read of it;
# `inferred`, where it waits for several things or the kernel shows no calls; or `no`. With
# `hidden`, where the terminal shows nothing of what is typed.
awaits() {
    wanted=$2 told=shown found=no
    case $wanted in
    stdin) wanted=$(readlink "/proc/$1/fd/0") ;;
    terminal)
        look "$1" && wanted=/dev/pts/$((tty & 255 | (tty >> 12) & 1048320))
        modes=$(stty -a 2>/dev/null <"$wanted")
        case $modes in
        *-icanon*) ;;
        *' -echo '* | *'-echo;'*) told=hidden ;;
        esac
        ;;
    esac
    descend "$1"
    for pid in "$1" $kin; do
        for task in "/proc/$pid/task/"[0-9]*; do
            await "$pid" "$task" "$wanted" && break 2
        done
    done
    echo "$found $told"
}

# await PID TASK INPUT: looks at one thread; leaves what it found in `found`.
await() {
    call='' place=''
    read -r call 2>/dev/null <"$2/syscall"
    read -r place 2>/dev/null <"$2/wchan"
    case $call in
    '0 0x'* | '63 0x'*)
        call=${call#* }
        is_input "/proc/$1/fd/$((${call%% *}))" "$3" && found=observed
        ;;
    # poll, select, pselect6, ppoll, epoll_wait, epoll_pwait; the last ones on aarch64.
    '7 0x'* | '23 0x'* | '270 0x'* | '271 0x'* | '232 0x'* | '281 0x'* | '72 0x'* | '73 0x'* | '22 0x'*)
        is_input "/proc/$1/fd/0" "$3" && found=inferred
        ;;
    '')
        case $place in
        *pipe_read | n_tty_read | wait_woken | unix_stream_*) ;;
        *) return 1 ;;
        esac
        is_input "/proc/$1/fd/0" "$3" && found=inferred
        ;;
    esac
    [ "$found" != no ]
}

# is_input LINK INPUT: whether a descriptor is this input.
is_input() {
    case $(readlink "$1") in
    "$2" | "$2 (deleted)") return 0 ;;
    /dev/tty) case $2 in /dev/pts/*) return 0 ;; esac ;;
    esac
    return 1
}

# A pause shorter than a second, where sleep can do that.
pause() { sleep "$1" 2>/dev/null || sleep 1; }

# marked MARKER: the environ files that hold it, in `marked`.
marked() {
    # busybox's grep takes a NUL for the end of all, and would see the first variable only.
    if printf 'x\0%s\n' "$1" | grep -qF "$1"; then
        marked=$(grep -lsF "$1" /proc/[0-9]*/environ)
        return
    fi
    marked=
    for file in /proc/[0-9]*/environ; do
        { tr '\0' '\n' <"$file" | grep -qF "$1"; } 2>/dev/null && marked="$marked $file"
    done
}

# gather MARKER ROOT...: the living processes of a session, in `all`: those below its roots,
# and those that carry its marker in their environment and what is below them.
gather() {
    marker=$1
    shift
    marked "$marker"
    for file in $marked; do
        file=${file#/proc/}
        set -- "$@" "${file%/environ}"
    done
    descend "$@"
    all=
    for pid in "$@" $kin; do
        case " $all " in
        *" $pid "*) continue ;;
        esac
        look "$pid" && [ "$state" != Z ] && all="$all $pid"
    done
}

# tell PID NUMBER: a line of the report.
tell() {
    words=$(tr '\0\n' '  ' 2>/dev/null <"/proc/$1/cmdline")
    [ -n "$words" ] || read -r words 2>/dev/null <"/proc/$1/comm"
    echo "$1 $2 $words"
}

# sweep NUMBER PAUSES MARKER ROOT...: signals what lives, and looks again until nothing does.
sweep() {
    number=$1 pauses=$2
    shift 2
    told=
    while gather "$@" && [ -n "$all" ]; do
        for pid in $all; do
            case " $told " in
            *" $pid "*) [ "$number" = 9 ] || continue ;;
            *) told="$told $pid" && tell "$pid" "$number" ;;
            esac
            kill -"$number" "$pid" 2>/dev/null
            # A stopped process takes SIGTERM only once it goes on.
            kill -18 "$pid" 2>/dev/null
        done
        [ "$pauses" -gt 0 ] || return
        pauses=$((pauses - 1))
        pause 0.05
    done
}

# finish MARKER ROOT...: ends a session's processes, says which.
finish() {
    sweep 15 4 "$@"
    sweep 9 40 "$@"
}

# leave ROOT...: ends only what was asked for.
leave() {
    for pid; do
        look "$pid" || continue
        tell "$pid" 9
        kill -9 "$pid" 2>/dev/null
    done
}

# forget MARKER PID...: ends those of these programs that still run and are the session's,
# and what is below them: their connection broke, and a number may be another's by now.
forget() {
    marker=$1
    shift
    for old; do
        tr '\0' '\n' 2>/dev/null <"/proc/$old/environ" | grep -qxF "$marker" && drop "$old"
    done
}

# drop PID: ends a program and what is below it; it may clean up first.
drop() {
    descend "$1"
    kill -15 "$1" 2>/dev/null
    pause 0.05
    for pid in "$1" $kin; do kill -9 "$pid" 2>/dev/null; done
}
