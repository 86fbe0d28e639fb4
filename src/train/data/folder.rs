//! A folder for each class, as common tools lay out pictures: `DIR/train/CLASS/*.jpg` and `DIR/val/CLASS/*.jpg`, or
//! only `DIR/CLASS/*.jpg`. Classes are numbered in the order of their names, by bytes.

use crate::render::Failure;
use crate::{import, input, output};
use ir::Diagnostic;
use runtime::host::MAX_FILE_BYTES;
use runtime::host::image::{self, Image};
use std::io;
use std::path::{Path, PathBuf};

const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "ppm", "pgm"];
/// Names under which training and evaluation pictures are looked for.
const TRAINING: &str = "train";
const EVALUATION: [&str; 3] = ["val", "validation", "test"];
/// Most pictures of a set; ImageNet has 1.3 million.
const MOST_FILES: usize = 20_000_000;

pub struct Folder {
    pub classes: Vec<String>,
    /// Class and path of each picture, sorted by both.
    pub files: Vec<(u32, PathBuf)>,
}

impl Folder {
    pub fn training(dir: &Path) -> Result<Folder, Failure> {
        let apart = dir.join(TRAINING);
        Folder::open(if apart.is_dir() { &apart } else { dir })
    }

    /// The pictures that are set apart for evaluation, if there are any.
    pub fn evaluation(dir: &Path) -> Result<Option<Folder>, Failure> {
        match EVALUATION.iter().map(|name| dir.join(name)).find(|d| d.is_dir()) {
            Some(apart) => Folder::open(&apart).map(Some),
            None => Ok(None),
        }
    }

    /// All pictures of a folder of classes.
    ///
    /// Errors: E0805 if a folder cannot be read, E0906 if there is no class or a class without pictures, E0801 beyond
    /// the limit.
    pub fn open(dir: &Path) -> Result<Folder, Failure> {
        let mut names: Vec<PathBuf> = entries(dir)?.into_iter().filter(|p| p.is_dir()).collect();
        names.sort();
        let mut folder = Folder { classes: Vec::new(), files: Vec::new() };
        for (class, path) in names.iter().enumerate() {
            let is_picture = |p: &PathBuf| {
                p.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&&*e.to_lowercase()))
            };
            let mut files: Vec<PathBuf> = entries(path)?.into_iter().filter(is_picture).collect();
            files.sort();
            if files.is_empty() {
                let text = format!("the class '{}' has no pictures", path.display());
                return Err(Failure::from(Diagnostic::error("E0906", text).help(HELP)).in_file(path));
            }
            folder.classes.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
            folder.files.extend(files.into_iter().map(|f| (class as u32, f)));
            if folder.files.len() > MOST_FILES {
                let text = format!("there are more than {MOST_FILES} pictures");
                let d = Diagnostic::error("E0801", text).class(ir::diag::Class::Limit);
                return Err(Failure::from(d.help("is this the right folder?")).in_file(dir));
            }
        }
        if folder.classes.is_empty() {
            let text = format!("'{}' has no folders of classes", dir.display());
            return Err(Failure::from(Diagnostic::error("E0906", text).help(HELP)).in_file(dir));
        }
        Ok(folder)
    }

    pub fn picture(&self, image: usize) -> Result<Image, Failure> {
        let path = &self.files[image].1;
        let bytes = import::read_file(path, MAX_FILE_BYTES)?;
        image::decode(&bytes).map_err(|e| Failure::from(input::diagnostic(e)).in_file(path))
    }

    /// Keeps `n` pictures: the first of each class, the second of each, and so on.
    pub fn truncate(&mut self, n: usize) {
        let mut seen = vec![0u32; self.classes.len()];
        let mut ranked: Vec<(u32, usize)> = Vec::with_capacity(self.files.len());
        for (i, (class, _)) in self.files.iter().enumerate() {
            ranked.push((seen[*class as usize], i));
            seen[*class as usize] += 1;
        }
        ranked.sort_unstable();
        ranked.truncate(n);
        let mut kept: Vec<usize> = ranked.into_iter().map(|(_, i)| i).collect();
        kept.sort_unstable();
        self.files = kept.into_iter().map(|i| self.files[i].clone()).collect();
    }
}

const HELP: &str = "pictures are expected as DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or as DIR/CLASS/*.jpg";

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = || -> io::Result<Vec<PathBuf>> { std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect() };
    read().map_err(|e| {
        let text = format!("cannot read the folder '{}': {}", dir.display(), output::reason(&e));
        Failure::from(Diagnostic::error("E0805", text).help("check the path and its permissions")).in_file(dir)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for f in files {
            let path = dir.path().join(f);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    #[test]
    fn classes_are_folders_in_the_order_of_their_names() {
        let dir = tree(&[
            "train/b/2.JPG",
            "train/b/1.png",
            "train/b/notes.txt",
            "train/a/3.jpeg",
            "val/a/1.jpg",
            "val/b/1.jpg",
        ]);
        let f = Folder::training(dir.path()).unwrap();
        assert_eq!(f.classes, ["a", "b"]);
        let names: Vec<_> = f.files.iter().map(|(c, p)| (*c, p.file_name().unwrap().to_str().unwrap())).collect();
        assert_eq!(names, [(0, "3.jpeg"), (1, "1.png"), (1, "2.JPG")]);
        assert_eq!(Folder::evaluation(dir.path()).unwrap().unwrap().files.len(), 2);
    }

    #[test]
    fn a_folder_without_parts_is_all_for_training() {
        let dir = tree(&["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"]);
        let mut f = Folder::training(dir.path()).unwrap();
        assert!(Folder::evaluation(dir.path()).unwrap().is_none());
        f.truncate(3);
        let classes: Vec<u32> = f.files.iter().map(|(c, _)| *c).collect();
        assert_eq!(classes, [0, 0, 1], "the first of each, then the second");
    }

    #[test]
    fn what_is_missing_is_said() {
        let code = |dir: &Path| Folder::training(dir).err().map(|e| e.diagnostics.0[0].code);
        assert_eq!(code(tree(&["1.jpg"]).path()), Some("E0906"));
        assert_eq!(code(tree(&["a/1.jpg", "b/notes.txt"]).path()), Some("E0906"));
        assert_eq!(code(Path::new("/nowhere/at/all")), Some("E0805"));
    }
}
