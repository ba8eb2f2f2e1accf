//! What transports to other machines and containers share: programs of POSIX sh that stand
//! in for what a launcher does on this machine.
