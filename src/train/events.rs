//! The log of a run as TensorBoard reads it: records of protocol buffers, each behind its length and checksums.
//!
//! A record is the length of its bytes (u64), a checksum of that, the bytes, a checksum of those, little-endian. The
//! first says the version. A run that goes on begins a file of its own with a mark, from which on TensorBoard drops what
//! an earlier file says of later steps.

use super::log::Line;
use crate::output::{self, Mode};
use crate::render::Failure;
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const VERSION: &str = "brain.Event:2";
/// `SessionLog.START`.
const START: i32 = 1;
/// What TensorFlow adds to a rotated checksum, so that a checksum of checksums is none.
const MASK: u32 = 0xa282_ead8;

/// The parts of `tensorboard/compat/proto/event.proto` that a log needs.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    pub session: Option<Session>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Scalar {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(float, tag = "2")]
    pub value: f32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Session {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// A file that is being written.
pub struct Events {
    path: PathBuf,
    file: File,
}

/// Makes the folder of events, and fails if no file can be begun in it.
///
/// Errors: E0803.
pub fn probe(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|e| output::failure(dir, 0, &e))?;
    output::probe(&dir.join("events"))
}

impl Events {
    /// Begins a file in `dir` for a run that has done `iteration` steps.
    ///
    /// Errors: E0803.
    pub fn create(dir: &Path, iteration: u64) -> Result<Events, Failure> {
        std::fs::create_dir_all(dir).map_err(|e| output::failure(dir, 0, &e))?;
        // Later files come later in the order of names, which TensorBoard reads them in.
        let (seconds, process) = (now() as u64, std::process::id());
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.rescc.{process}.{iteration}"));
        output::write(&path, Mode::Data, &[])?;
        let file = File::options().append(true).open(&path).map_err(|e| output::failure(&path, 0, &e))?;
        let mut events = Events { path, file };
        events.put(&Event { file_version: Some(VERSION.into()), ..Event::default() })?;
        if iteration > 0 {
            let session = Some(Session { status: START });
            events.put(&Event { step: iteration.cast_signed() + 1, session, ..Event::default() })?;
        }
        Ok(events)
    }

    /// Errors: E0803.
    pub fn write(&mut self, line: &Line) -> Result<(), Failure> {
        let scalar = |tag: &str, value: Option<f64>| Some(Scalar { tag: tag.into(), value: value? as f32 });
        let values = [
            scalar("lr", Some(line.lr)),
            scalar("epoch", Some(line.epoch)),
            scalar("loss", line.window.map(|w| w.0)),
            scalar("error/train", line.window.map(|w| w.1)),
            scalar("error/test", line.test_error),
        ];
        let summary = Some(Summary { values: values.into_iter().flatten().collect() });
        self.put(&Event { step: line.iteration.cast_signed(), summary, ..Event::default() })
    }

    fn put(&mut self, event: &Event) -> Result<(), Failure> {
        let bytes = record(&Event { wall_time: now(), ..event.clone() }.encode_to_vec());
        self.file.write_all(&bytes).map_err(|e| output::failure(&self.path, 0, &e))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(bytes).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file; every checksum must be right.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(*rest.first_chunk().unwrap()) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(rest[..16 + length], record(data));
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn records_are_as_published() {
        // An empty record as TensorFlow writes it: CRC-32C of eight zeros is 0x8c28b28a, of nothing 0.
        assert_eq!(record(&[])[8..12], 0x8c28_b28a_u32.rotate_right(15).wrapping_add(MASK).to_le_bytes());
        assert_eq!(record(&[])[12..], MASK.to_le_bytes());
    }

    #[test]
    fn lines_become_scalars_and_a_run_that_goes_on_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let line = Line { iteration: 50, epoch: 0.5, lr: 0.1, window: Some((2.0, 0.75)), test_error: Some(0.5) };
        let mut events = Events::create(dir.path(), 0).unwrap();
        events.write(&line).unwrap();
        let found = read(&events.path);
        assert_eq!((found.len(), found[0].file_version.as_deref()), (2, Some(VERSION)));
        let scalars: Vec<(&str, f32)> =
            found[1].summary.as_ref().unwrap().values.iter().map(|s| (s.tag.as_str(), s.value)).collect();
        let expected = [("lr", 0.1), ("epoch", 0.5), ("loss", 2.0), ("error/train", 0.75), ("error/test", 0.5)];
        assert_eq!((found[1].step, &scalars[..]), (50, &expected[..]));
        let again = Events::create(dir.path(), 40).unwrap();
        let found = read(&again.path);
        assert_eq!((found[1].step, found[1].session.as_ref().unwrap().status), (41, START));
    }
}
