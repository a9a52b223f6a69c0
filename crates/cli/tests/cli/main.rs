//! The program as its users meet it: every command, every kind of bad input, interruptions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod attacks;
mod bench;
mod commands;
mod common;
mod contract;
mod diagnose;
mod explain;
mod falsify;
mod fix;
mod foreign;
mod interruptions;
mod page;
mod verdict;
