//! Batches, made on a thread of their own while the step before them runs.
//!
//! Two batches go round: one is learnt from, one is filled. The order of pictures and what is done to them depend on
//! the number of the iteration alone, so a feed can begin anywhere.

use super::{Augment, Set};
use crate::render::Failure;
use crate::train::random::Order;
use crate::train::settings::Settings;
use ir::Diagnostic;
use ir::diag::Class;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Pictures of one step, or this rank's part of them.
pub struct Batch {
    /// f32[pictures, 3, height, width].
    pub x: Vec<f32>,
    pub labels: Vec<i32>,
}

/// A sequence of batches.
pub struct Feed {
    full: Receiver<Result<Batch, Failure>>,
    empty: Sender<Batch>,
    /// How long the steps have waited for a batch.
    pub waited: Duration,
}

/// What is fed.
pub struct Source {
    pub set: Set,
    pub augment: Augment,
    pub settings: Settings,
    /// Which pictures of a batch this rank needs.
    pub part: Range<u64>,
}

impl Source {
    /// Steps of an epoch; pictures that fill no batch are left out.
    pub fn steps(&self) -> u64 {
        self.set.len() / self.settings.batch
    }

    /// Fills the batch of `iteration`. `order` is kept between calls.
    fn fill(&self, iteration: u64, order: &mut Order, batch: &mut Batch) -> Result<(), Failure> {
        let (draws, images) = order.batch(&self.settings, self.set.len(), iteration);
        let images = &images[self.part.start as usize..self.part.end as usize];
        let elements = self.augment.pixels.elements();
        for ((&image, label), x) in images.iter().zip(&mut batch.labels).zip(batch.x.chunks_exact_mut(elements)) {
            *label = self.set.label(image.into()) as i32;
            self.augment.fill(&self.set, image.into(), draws, x)?;
        }
        Ok(())
    }

    fn empty(&self) -> Batch {
        let n = (self.part.end - self.part.start) as usize;
        Batch { x: vec![0.0; n * self.augment.pixels.elements()], labels: vec![0; n] }
    }
}

impl Feed {
    /// Begins with the batch of iteration `from`. There must be as many pictures as a batch has.
    ///
    /// Errors: E0801 if the system gives no thread.
    pub fn start(source: Arc<Source>, from: u64) -> Result<Feed, Failure> {
        let (to_full, full) = channel();
        let (empty, from_empty) = channel::<Batch>();
        for _ in 0..2 {
            let _ = empty.send(source.empty());
        }
        let work = move || {
            let mut order = Order::default();
            for iteration in from..source.settings.iterations {
                // A feed that nobody listens to ends.
                let Ok(mut batch) = from_empty.recv() else { return };
                let filled = source.fill(iteration, &mut order, &mut batch);
                let failed = filled.is_err();
                if to_full.send(filled.map(|()| batch)).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("feed".into()).spawn(work);
        thread.map_err(|e| {
            let d = Diagnostic::error("E0801", format!("cannot start a thread: {e}")).class(Class::Limit);
            Failure::from(d.help("end other programs"))
        })?;
        Ok(Feed { full, empty, waited: Duration::ZERO })
    }

    /// The next batch; give it back after the step.
    ///
    /// Errors: those of the pictures.
    pub fn take(&mut self) -> Result<Batch, Failure> {
        let begun = Instant::now();
        let batch = self.full.recv();
        self.waited += begun.elapsed();
        batch.unwrap_or_else(|_| {
            let d = Diagnostic::error("E0800", "the thread that makes batches has ended").class(Class::Internal);
            Err(d.help("this is a bug of rescc: please report it").into())
        })
    }

    pub fn give_back(&self, batch: Batch) {
        // After the last batch nobody takes it.
        let _ = self.empty.send(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pixels;
    use super::*;
    use crate::train::settings::{Kind, Length, Recipe};
    use runtime::host::train::pictures::Pictures;

    fn source(images: usize, batch: u64, epochs: u64) -> Arc<Source> {
        let pixels = (0..images * 48).map(|i| (i * 31 % 251) as u8).collect();
        let cifar = Pictures { side: 4, pixels, labels: (0..images).map(|i| (i % 10) as u8).collect() };
        let pixels = Pixels::channels(&cifar, images);
        let recipe = Recipe::find("fast", Kind::Cifar).unwrap();
        let settings = recipe.settings(images as u64, 8, Some(batch), Some(Length::Epochs(epochs)));
        let augment = Augment::new(&settings, pixels);
        Arc::new(Source { set: Set::Cifar(cifar), augment, settings, part: 0..batch })
    }

    fn all(source: &Arc<Source>, from: u64) -> Vec<(Vec<f32>, Vec<i32>)> {
        let mut feed = Feed::start(source.clone(), from).unwrap();
        (from..source.settings.iterations)
            .map(|_| {
                let b = feed.take().unwrap();
                let copy = (b.x.clone(), b.labels.clone());
                feed.give_back(b);
                copy
            })
            .collect()
    }

    #[test]
    fn a_feed_that_begins_later_gives_the_same_batches() {
        let s = source(21, 4, 3);
        assert_eq!(s.steps(), 5);
        let whole = all(&s, 0);
        assert_eq!(whole.len(), 15);
        for from in [1, 5, 7, 14] {
            assert!(all(&s, from) == whole[from as usize..], "{from}");
        }
        assert_ne!(whole[0].1, whole[5].1, "epochs have orders of their own");
    }

    #[test]
    fn parts_of_a_batch_are_its_pictures() {
        let whole = all(&source(21, 4, 2), 3);
        let parts = [0..1, 1..4].map(|part| {
            let mut s = Arc::into_inner(source(21, 4, 2)).unwrap();
            s.part = part;
            all(&Arc::new(s), 3)
        });
        for (i, (x, labels)) in whole.iter().enumerate() {
            let [a, b] = [&parts[0][i], &parts[1][i]];
            assert!(*x == [&a.0[..], &b.0].concat() && *labels == [&a.1[..], &b.1].concat());
        }
    }

    #[test]
    fn an_epoch_shows_each_picture_once() {
        let s = source(20, 4, 1);
        let mut labels: Vec<i32> = all(&s, 0).into_iter().flat_map(|(_, l)| l).collect();
        labels.sort_unstable();
        let expected: Vec<i32> = (0..20).map(|i| i / 2).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn a_picture_that_cannot_be_read_ends_the_feed_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/broken.jpg"), b"\xff\xd8\xff").unwrap();
        let mut s = Arc::into_inner(source(20, 1, 1)).unwrap();
        s.set = Set::Folder(super::super::folder::Folder::open(dir.path()).unwrap());
        let e = Feed::start(Arc::new(s), 0).unwrap().take().err().expect("a failure");
        assert!(e.sources.main.unwrap().0.ends_with("a/broken.jpg"));
    }
}
