//! From a pickle's objects to a table of tensors: which dict is the state dict, and are its views sound.

use super::Found;
use super::pickle::{Object, Pickled, Storage, Value};
use crate::import::MAX_NAME_BYTES;
use crate::import::Tensor;
use crate::import::state_dict::contiguous;
use ir::{Diagnostic, Diagnostics, Place};
use std::collections::{HashMap, HashSet};

/// Keys under which training scripts keep the state dict.
const WRAPPERS: [&str; 7] = ["state_dict", "model_state_dict", "model_state", "model", "net", "model_ema", "ema"];
const MAX_DEPTH: usize = 4;

/// Where each storage lies in the file: key to first byte and number of bytes.
pub type Places = HashMap<String, (usize, usize)>;

/// All storages that tensors of the pickle refer to, each key once.
pub fn storages(p: &Pickled) -> Result<HashMap<&str, &Storage>, Diagnostics> {
    let mut all: HashMap<&str, &Storage> = HashMap::new();
    for o in &p.objects {
        let Object::Storage(s) = o else { continue };
        let first = *all.entry(&s.key).or_insert(s);
        if first != s {
            let d = Diagnostic::error("E0321", format!("storage '{}' is said to be two different things", s.key));
            return Err(d.help("the file is damaged: fetch it again").into());
        }
    }
    Ok(all)
}

/// The state dict's tensors.
///
/// Errors: no dict of tensors is found; a name is too long or there twice; a view reaches beyond its storage, or its
/// storage beyond its place.
pub fn collect(p: &Pickled, places: &Places) -> Result<Found, Diagnostics> {
    let mut notes = Vec::new();
    let Some(dict) = state_dict(p, &mut notes) else {
        let d = Diagnostic::error("E0322", "there is no state dict in this file");
        return Err(d.help("save a dict of names to tensors: torch.save(model.state_dict(), FILE)").into());
    };
    let mut problems = Diagnostics::default();
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    for &(key, value) in dict {
        let (Some(name), Some(Object::Tensor(view))) = (p.str(key), p.get(value)) else { continue };
        let Some(Object::Storage(s)) = p.objects.get(view.storage as usize) else { continue };
        // A pickle has a name once and may use it a million times: copies and messages must not outgrow the file.
        let unusable = match name.len() {
            n if n > MAX_NAME_BYTES => Some(format!("a tensor's name has {n} bytes, the limit is {MAX_NAME_BYTES}")),
            _ if !names.insert(name) => Some(format!("tensor '{name}' is there twice")),
            _ => None,
        };
        if let Some(text) = unusable {
            let d = Diagnostic::error("E0321", text);
            return Err(d.help("the file is damaged: fetch it again, or save `model.state_dict()` again").into());
        }
        let size = s.element.bytes();
        // Elements that are there, by the pickle and by the container.
        let held = places.get(&s.key).map(|&(at, bytes)| (at, (bytes / size) as u64));
        let fault = match held {
            None => Some(format!("storage '{}' is not in the file", s.key)),
            Some((_, n)) if n < s.elements => {
                Some(format!("storage '{}' has {n} elements, {} were announced", s.key, s.elements))
            }
            Some(_) if reaches(view.offset, &view.shape, &view.strides).is_none_or(|end| end > s.elements) => {
                Some(format!("it reaches beyond the {} elements of its storage", s.elements))
            }
            Some(_) => None,
        };
        if let Some(fault) = fault {
            let d = Diagnostic::error("E0321", format!("tensor '{name}': {fault}"));
            problems.push(d.at(Place::Tensor(name.into()), "").help("the file is damaged: fetch it again"));
            continue;
        }
        let (at, _) = held.unwrap_or_default();
        let empty = view.shape.contains(&0);
        tensors.push(Tensor {
            name: name.into(),
            element: s.element,
            shape: view.shape.clone(),
            strides: if empty { contiguous(&view.shape) } else { view.strides.clone() },
            offset: if empty { at } else { at + view.offset as usize * size },
        });
    }
    problems.into_result(Found { tensors, notes })
}

/// One past the last element that a view reads. `None` if that overflows, or if the view has more elements than
/// a storage of its reach: strides of 0 must not blow a small file up.
fn reaches(offset: u64, shape: &[u64], strides: &[u64]) -> Option<u64> {
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
    if count == 0 {
        return Some(0);
    }
    let last = shape.iter().zip(strides).try_fold(offset, |at, (&n, &s)| at.checked_add((n - 1).checked_mul(s)?))?;
    let end = last.checked_add(1)?;
    (count <= end).then_some(end)
}

/// The innermost dict with tensors: a checkpoint may have some of its own beside it (the best accuracy so far).
fn state_dict<'p>(p: &'p Pickled, notes: &mut Vec<String>) -> Option<&'p [(Value, Value)]> {
    let mut dict = p.dict(p.root)?;
    let mut innermost = None;
    for _ in 0..MAX_DEPTH {
        if dict.iter().any(|&(_, v)| matches!(p.get(v), Some(Object::Tensor(_)))) {
            innermost = Some((dict, notes.len()));
        }
        let inside = |&wanted: &&'static str| {
            let entry = dict.iter().find(|&&(k, v)| p.str(k) == Some(wanted) && p.dict(v).is_some());
            entry.and_then(|&(_, v)| Some((wanted, p.dict(v)?)))
        };
        let Some((key, inner)) = WRAPPERS.iter().find_map(inside) else { break };
        notes.push(format!("the state dict was found under '{key}'"));
        dict = inner;
    }
    let (dict, said) = innermost?;
    notes.truncate(said);
    Some(dict)
}

#[cfg(test)]
mod tests {
    use super::reaches;

    #[test]
    fn views_are_measured_in_checked_arithmetic() {
        assert_eq!(reaches(0, &[2, 3], &[3, 1]), Some(6));
        assert_eq!(reaches(5, &[3, 2], &[1, 3]), Some(11));
        assert_eq!(reaches(7, &[], &[]), Some(8));
        assert_eq!(reaches(9, &[0, 4], &[1, 1]), Some(0));
        assert_eq!(reaches(0, &[1 << 40, 1 << 40], &[1, 1]), None);
        assert_eq!(reaches(0, &[2], &[u64::MAX]), None);
        assert_eq!(reaches(0, &[1 << 40], &[0]), None);
    }
}
