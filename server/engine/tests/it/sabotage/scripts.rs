//! The scripts that try to break the framing. The suite over every kind of target reads
//! this file too.

/// Each, and what it may cost.
pub(crate) const SABOTAGE: &[(&str, Price)] = &[
    ("echo hi # comment", Price::None),
    ("sleep 0.1 &", Price::None),
    ("cat <<X\nfoo\nX", Price::None),
    ("cat <<X\nfoo", Price::None),
    ("echo \"abc", Price::None),
    ("echo 'abc", Price::None),
    ("echo $(", Price::None),
    ("if then fi", Price::None),
    ("set -u", Price::None),
    ("set -x", Price::None),
    ("set -v", Price::None),
    ("set -C", Price::None),
    ("set -a", Price::None),
    ("set -f", Price::None),
    ("exec >/dev/null", Price::None),
    ("exec 2>/dev/null", Price::None),
    ("exec 1>&-", Price::None),
    ("exec 0<&-", Price::None),
    ("exec 8>&- 9>&-", Price::None),
    ("exec 7>&- 10>&- 11>&- 12>&-", Price::Restart),
    ("IFS=0123456789", Price::None),
    ("PATH=", Price::None),
    ("unset PATH", Price::None),
    ("unset PWD; unset HOME", Price::None),
    ("printf(){ :; }", Price::None),
    ("eval(){ :; }", Price::None),
    ("alias eval=: printf=: command=: return=:", Price::None),
    ("trap 'echo T' DEBUG", Price::None),
    ("trap 'echo E' ERR", Price::None),
    ("trap 'echo bye' EXIT", Price::None),
    ("cat", Price::None),
    ("read x", Price::None),
    ("TMOUT=1", Price::Restart),
    (
        "PROMPT_COMMAND='echo P'; PS1='$(echo S)'; PS0='$(echo Z)'; PS2=x; PS4=y",
        Price::None,
    ),
    ("readonly PWD OLDPWD PS1 PS2 PS4 IFS", Price::None),
    (
        "sh -c 'printf \"\\036xg:aaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaa 0 /\\036\"'",
        Price::None,
    ),
    ("(sleep 0.3; echo later) &", Price::None),
    ("set -e; false", Price::Restart),
    ("set -e; false && true", Price::Restart),
    ("set -n", Price::Restart),
    ("exit 3", Price::Restart),
    ("kill -9 $$", Price::Restart),
    ("kill -STOP $$", Price::None),
    ("exec cat", Price::Restart),
    ("exec sleep 0", Price::Restart),
    ("command(){ :; }", Price::Restart),
    ("ulimit -n 3", Price::Restart),
    ("enable -n eval printf command", Price::Restart),
    ("enable -n .", Price::Restart),
    ("shopt -s extdebug; trap false DEBUG", Price::Restart),
    ("set -o posix", Price::None),
    ("return 3", Price::Restart),
    ("break; continue", Price::None),
    ("stty raw; stty sane", Price::None),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Price {
    /// The shell and its state must survive.
    None,
    /// The shell may be replaced, and the session says so.
    Restart,
}
