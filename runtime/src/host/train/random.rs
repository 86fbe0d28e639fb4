//! Counter-based randomness: every draw has a key, and needs no draw before it.
//!
//! The key of a ChaCha8 stream is its four words: seed, epoch, image, purpose. So what happens to an image depends
//! neither on threads nor on what was drawn for others, and a run that was interrupted goes on with the same numbers.

use super::settings::Settings;
use alloc::vec::Vec;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a number is drawn for. Values are part of what a seed means: they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Order = 0,
    Crop = 1,
    Flip = 2,
    Colour = 3,
}

/// The draws of one seed in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub seed: u64,
    pub epoch: u64,
}

impl Epoch {
    /// The draws for an image.
    pub fn draws(self, image: u64, purpose: Purpose) -> Draws {
        let words = [self.seed, self.epoch, image, purpose as u64];
        let mut key = [0; 32];
        for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        Draws(ChaCha8Rng::from_seed(key))
    }

    /// The numbers 0..`images` in the order of this epoch (Fisher and Yates).
    pub fn order(self, images: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..images).collect();
        let mut draws = self.draws(0, Purpose::Order);
        for i in (1..order.len()).rev() {
            order.swap(i, draws.below(i as u64 + 1) as usize);
        }
        order
    }

    /// Whether an image is seen as in a mirror.
    pub fn is_mirrored(self, image: u64) -> bool {
        self.draws(image, Purpose::Flip).below(2) == 1
    }

    /// By how much an image is moved to the right and down: up to an eighth of its side.
    pub fn shift(self, image: u64, side: usize) -> [isize; 2] {
        let most = side as u64 / 8;
        let mut draws = self.draws(image, Purpose::Crop);
        core::array::from_fn(|_| draws.below(2 * most + 1) as isize - most as isize)
    }
}

/// The images of every step: an epoch shows all in its order, but for those that fill no batch.
#[derive(Default)]
pub struct Order(Option<(u64, Vec<u32>)>);

impl Order {
    /// The images of step `iteration`, of `images` that there are, and their epoch.
    pub fn batch(&mut self, s: &Settings, images: u64, iteration: u64) -> (Epoch, &[u32]) {
        let steps = images / s.batch;
        let (epoch, step) = (iteration / steps, iteration % steps);
        let draws = Epoch { seed: s.seed, epoch };
        if self.0.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.0 = Some((epoch, draws.order(images as u32)));
        }
        let order = self.0.as_ref().map_or(&[][..], |(_, order)| order);
        (draws, &order[(step * s.batch) as usize..][..s.batch as usize])
    }
}

/// A sequence of random numbers.
pub struct Draws(pub ChaCha8Rng);

impl Draws {
    /// A number below `n` > 0. Its bias is at most n / 2⁶⁴.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `low` up to `high`, uniform.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { seed: 7, epoch: 3 };

    #[test]
    fn every_word_of_the_key_counts() {
        let first = |e: Epoch, image, purpose| e.draws(image, purpose).below(u64::MAX);
        let base = first(EPOCH, 5, Purpose::Crop);
        assert_eq!(base, first(EPOCH, 5, Purpose::Crop));
        let others = [
            first(Epoch { seed: 8, ..EPOCH }, 5, Purpose::Crop),
            first(Epoch { epoch: 4, ..EPOCH }, 5, Purpose::Crop),
            first(EPOCH, 6, Purpose::Crop),
            first(EPOCH, 5, Purpose::Flip),
        ];
        assert!(others.iter().all(|&o| o != base), "{others:?} {base}");
    }

    /// What a seed means may not change: runs that were interrupted before an update go on after it.
    #[test]
    fn the_numbers_are_pinned() {
        assert_eq!(EPOCH.order(8), PINNED);
    }

    const PINNED: [u32; 8] = [3, 6, 4, 5, 2, 0, 7, 1];

    #[test]
    fn an_order_is_a_permutation_and_others_differ() {
        let a = EPOCH.order(1000);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_ne!(a, Epoch { epoch: 4, ..EPOCH }.order(1000));
    }

    /// Each of n places is hit about equally often: chi squared with 9 degrees of freedom, far beyond 5 deviations.
    #[test]
    fn places_are_even() {
        let mut counts = [0u32; 10];
        for image in 0..10_000 {
            counts[EPOCH.draws(image, Purpose::Crop).below(10) as usize] += 1;
        }
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 30.0, "{counts:?}");
    }

    #[test]
    fn shifts_reach_every_place_and_half_are_mirrored() {
        let shifts: std::collections::BTreeSet<_> = (0..2000).map(|i| EPOCH.shift(i, 32)).collect();
        assert_eq!(shifts.len(), 81);
        assert!(shifts.iter().flatten().all(|s| s.abs() <= 4));
        let mirrored = (0..1000).filter(|&i| EPOCH.is_mirrored(i)).count();
        assert!((420..580).contains(&mirrored), "{mirrored}");
    }
}
