//! The paper's experiments on CIFAR-10 at three scales: which networks, how they are trained, what the paper found.
//!
//! | module | is |
//! |---|---|
//! | [`experiments`] | the table of experiments |
//! | [`train`] | one network of one, trained where it is not yet |
//!
//! Every network is trained by the paper's recipe (`he2015`) into a folder of its own; experiments share them.

pub mod experiments;
pub mod train;
