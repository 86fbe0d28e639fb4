//! Training: what decides the bits of a run, shared by `rescc train` and the trainers that it makes; and their program.
//!
//! | module | is |
//! |---|---|
//! | [`settings`] | what decides the bits of a run, and the recipes that give it |
//! | [`random`] | counter-based randomness |
//! | [`schedule`] | the learning rate of every iteration |
//! | [`pictures`] | CIFAR-10 in memory |
//! | [`pixels`] | from bytes to the numbers of a network's input |
//! | [`progress`] | how far a run has come |
//! | [`checkpoint`] | a run as one file, whose header [`safetensors`] writes |
//! | [`preset`] | what is decided when a trainer is made |
//! | [`trainer`] | a network with its state, ready to train |
//! | [`app`] | the program, whose command line is [`args`] |

pub mod app;
pub mod args;
pub mod checkpoint;
pub mod pictures;
pub mod pixels;
pub mod preset;
pub mod progress;
pub mod random;
pub mod safetensors;
pub mod schedule;
pub mod settings;
pub mod trainer;
