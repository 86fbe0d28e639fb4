//! Labelled pictures for training and evaluation.
//!
//! | module | is |
//! |---|---|
//! | `cifar` | the CIFAR-10 binary version |
//! | `folder` | a folder for each class |
//! | `pixels` | how a model's preprocessing is written |
//! | `augment` | random crops, flips and colours |
//! | `feed` | batches, made on a thread of their own |

pub mod augment;
pub mod cifar;
pub mod feed;
pub mod folder;
pub mod pixels;

pub use augment::Augment;
pub use feed::{Batch, Feed};
pub use runtime::host::train::pixels::Pixels;

use super::settings::Kind;
use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
use runtime::host::image::Image;
use runtime::host::train::checkpoint;
use runtime::host::train::pictures::Pictures;
use std::path::PathBuf;

/// Where pictures are, as `--data` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub kind: Kind,
    pub dir: PathBuf,
}

impl Place {
    /// `cifar10:DIR` or `folder:DIR`.
    ///
    /// Errors: a message for the command line.
    pub fn parse(text: &str) -> Result<Place, String> {
        let kind = |name| match name {
            "cifar10" => Some(Kind::Cifar),
            "folder" => Some(Kind::Folder),
            _ => None,
        };
        let (kind, dir) =
            text.split_once(':').and_then(|(k, d)| Some((kind(k)?, d))).ok_or("give cifar10:DIR or folder:DIR")?;
        if dir.is_empty() { Err("the folder is missing".into()) } else { Ok(Place { kind, dir: dir.into() }) }
    }

    /// The pictures to train on, for a network with `dims` as input.
    ///
    /// Errors: E0805 (unreadable), E0904 (damaged), E0905 (classes), E0906 (another size, or nothing there).
    pub fn training(&self, dims: [u64; 3], classes: u64) -> Result<Set, Failure> {
        let set = match self.kind {
            Kind::Cifar => Set::Cifar(cifar::training(&self.dir, dims)?),
            Kind::Folder => Set::Folder(folder::Folder::training(&self.dir)?),
        };
        set.check_classes(classes).map_err(|d| Failure::from(d).in_file(&self.dir))?;
        Ok(set)
    }

    /// The pictures to evaluate on, or `None` if a folder has none set apart.
    ///
    /// Errors: as [`training`](Self::training).
    pub fn evaluation(&self, dims: [u64; 3], classes: u64) -> Result<Option<Set>, Failure> {
        let set = match self.kind {
            Kind::Cifar => Some(Set::Cifar(cifar::evaluation(&self.dir, dims)?)),
            Kind::Folder => folder::Folder::evaluation(&self.dir)?.map(Set::Folder),
        };
        if let Some(set) = &set {
            set.check_classes(classes).map_err(|d| Failure::from(d).in_file(&self.dir))?;
        }
        Ok(set)
    }

    /// The pictures to evaluate on, or all of a folder that has none set apart; whatever their classes.
    ///
    /// Errors: as [`training`](Self::training), but E0905.
    pub fn pictures(&self, dims: [u64; 3]) -> Result<Set, Failure> {
        match self.kind {
            Kind::Cifar => cifar::evaluation(&self.dir, dims).map(Set::Cifar),
            Kind::Folder => match folder::Folder::evaluation(&self.dir)? {
                Some(apart) => Ok(Set::Folder(apart)),
                None => folder::Folder::open(&self.dir).map(Set::Folder),
            },
        }
    }
}

/// Labelled pictures.
pub enum Set {
    /// In memory, all as large as the input.
    Cifar(Pictures),
    /// Files of any size, decoded when they are needed.
    Folder(folder::Folder),
}

impl Set {
    pub fn len(&self) -> u64 {
        match self {
            Set::Cifar(c) => c.labels.len() as u64,
            Set::Folder(f) => f.files.len() as u64,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn label(&self, image: u64) -> u32 {
        match self {
            Set::Cifar(c) => c.labels[image as usize].into(),
            Set::Folder(f) => f.files[image as usize].0,
        }
    }

    /// Class names in order.
    pub fn classes(&self) -> Vec<String> {
        match self {
            Set::Cifar(_) => cifar::CLASSES.map(String::from).to_vec(),
            Set::Folder(f) => f.classes.clone(),
        }
    }

    /// Only the first `n` pictures, if there are more.
    pub fn truncate(&mut self, n: u64) {
        match self {
            Set::Cifar(c) => c.labels.truncate(n as usize),
            // Files are in the order of their classes: the first of each are kept in turn.
            Set::Folder(f) => f.truncate(n as usize),
        }
    }

    /// Hex SHA-256 of all labels: enough to notice that a run goes on with other data.
    pub fn fingerprint(&self) -> String {
        checkpoint::fingerprint((0..self.len()).map(|i| self.label(i)))
    }

    /// A picture as it is.
    ///
    /// Errors: E0805, E0901 to E0903 of a file.
    pub fn picture(&self, image: u64) -> Result<Image, Failure> {
        match self {
            Set::Cifar(c) => Ok(c.picture(image as usize)),
            Set::Folder(f) => f.picture(image as usize),
        }
    }

    /// Refuses pictures for evaluation whose classes are not those of these, which go by their numbers.
    pub fn check_evaluation(&self, test: &Set) -> Result<(), Diagnostic> {
        let (own, other) = (self.classes(), test.classes());
        let Some((a, b)) = own.iter().zip(&other).find(|(a, b)| a != b) else { return Ok(()) };
        let text = format!("class '{a}' of the pictures to train on is '{b}' among those to evaluate on");
        Err(Diagnostic::error("E0905", text).help("name the folders of both alike"))
    }

    fn check_classes(&self, classes: u64) -> Result<(), Diagnostic> {
        let found = self.classes().len() as u64;
        if found == classes { Ok(()) } else { Err(other_classes(found, classes)) }
    }
}

/// What to say of a network whose number of classes is not that of the data.
pub fn other_classes(found: u64, classes: u64) -> Diagnostic {
    let d = Diagnostic::error("E0905", format!("the data has {found} classes, the network {classes}"));
    d.help(format!("make a network for them: `rescc new … --classes {found}`"))
}

/// What a data set says that is not what it should be.
fn damaged(text: impl Into<String>) -> Diagnostic {
    Diagnostic::error("E0904", text).class(Class::Invalid)
}
