//! Writes files as `torch.save` does, sound ones and others: a small emitter of pickles, and both containers.

/// A pickle under construction, protocol 2.
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Pickle {
        Pickle(b"\x80\x02".to_vec())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Pickle {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn str(self, s: &str) -> Pickle {
        self.raw(b"X").raw(&(s.len() as u32).to_le_bytes()).raw(s.as_bytes())
    }

    pub fn int(self, i: i64) -> Pickle {
        self.raw(b"\x8a\x08").raw(&i.to_le_bytes())
    }

    pub fn name(self, module: &str, name: &str) -> Pickle {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn numbers(self, numbers: &[i64]) -> Pickle {
        numbers.iter().fold(self.raw(b"("), |p, &n| p.int(n)).raw(b"t")
    }

    /// A tensor over a storage, as `_rebuild_tensor_v2` gets it.
    pub fn tensor(self, t: &View) -> Pickle {
        self.name("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .str("storage")
            .name("torch", t.storage_type)
            .str(&t.key)
            .str("cpu")
            .int(t.elements)
            .raw(b"tQ")
            .int(t.offset)
            .numbers(&t.shape)
            .numbers(&t.strides)
            .raw(b"\x89")
            .name("collections", "OrderedDict")
            .raw(b")RtR")
    }

    /// An ordered dict of tensors.
    pub fn state_dict(self, tensors: &[(String, View)]) -> Pickle {
        let p = self.name("collections", "OrderedDict").raw(b")R(");
        tensors.iter().fold(p, |p, (name, t)| p.str(name).tensor(t)).raw(b"u")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

#[derive(Clone, Debug)]
pub struct View {
    pub key: String,
    pub storage_type: &'static str,
    /// Of the storage.
    pub elements: i64,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

impl View {
    /// A whole storage of f32 in row-major order.
    pub fn whole(key: &str, shape: &[i64]) -> View {
        let mut strides = vec![1; shape.len()];
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d] * shape[d];
        }
        View {
            key: key.into(),
            storage_type: "FloatStorage",
            elements: shape.iter().product(),
            offset: 0,
            shape: shape.to_vec(),
            strides,
        }
    }
}

/// One entry of an archive; the fields beyond name and data are for files that are not sound.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// Name in the local header, if it differs.
    pub local_name: Option<String>,
    pub crc: Option<u32>,
    /// Both sizes that the directory states, if they differ from the data's.
    pub sizes: Option<[u32; 2]>,
    /// Offset of the local header that the directory states, if it differs.
    pub offset: Option<u32>,
}

pub fn entry(name: &str, data: impl Into<Vec<u8>>) -> Entry {
    Entry {
        name: name.into(),
        data: data.into(),
        method: 0,
        flags: 0,
        local_name: None,
        crc: None,
        sizes: None,
        offset: None,
    }
}

pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for e in entries {
        let at = out.len() as u32;
        let crc = e.crc.unwrap_or_else(|| crc32(&e.data)).to_le_bytes();
        let local_name = e.local_name.as_ref().unwrap_or(&e.name);
        let len = e.data.len() as u32;
        let [size, stored] = e.sizes.unwrap_or([len, len]);
        out.extend_from_slice(b"PK\x03\x04\x14\x00");
        out.extend_from_slice(&e.flags.to_le_bytes());
        out.extend_from_slice(&e.method.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(local_name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(local_name.as_bytes());
        out.extend_from_slice(&e.data);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00\x14\x00");
        directory.extend_from_slice(&e.flags.to_le_bytes());
        directory.extend_from_slice(&e.method.to_le_bytes());
        directory.extend_from_slice(&[0; 4]);
        directory.extend_from_slice(&crc);
        directory.extend_from_slice(&stored.to_le_bytes());
        directory.extend_from_slice(&size.to_le_bytes());
        directory.extend_from_slice(&(e.name.len() as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 12]);
        directory.extend_from_slice(&e.offset.unwrap_or(at).to_le_bytes());
        directory.extend_from_slice(e.name.as_bytes());
    }
    let (at, count) = (out.len() as u32, entries.len() as u16);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

/// A zip file of `torch.save`.
pub fn zip_file(object: Vec<u8>, storages: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip(&zip_entries(object, storages))
}

pub fn zip_entries(object: Vec<u8>, storages: &[(String, Vec<u8>)]) -> Vec<Entry> {
    let mut entries = vec![entry("archive/data.pkl", object), entry("archive/byteorder", *b"little")];
    entries.extend(storages.iter().map(|(key, data)| entry(&format!("archive/data/{key}"), data.clone())));
    entries.push(entry("archive/version", *b"3\n"));
    entries
}

/// A legacy file of `torch.save`; storages have elements of `size` bytes.
pub fn legacy_file(object: Vec<u8>, storages: &[(String, Vec<u8>)], size: usize) -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = Pickle::new().raw(b"}(").str("protocol_version").int(1001).str("little_endian").raw(b"\x88u");
    out.extend(system.stop());
    out.extend(object);
    let keys = storages.iter().fold(Pickle::new().raw(b"]("), |p, (key, _)| p.str(key)).raw(b"e");
    out.extend(keys.stop());
    for (_, data) in storages {
        out.extend_from_slice(&((data.len() / size) as i64).to_le_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// The checksum of zip archives, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, &b| (0..8).fold(crc ^ u32::from(b), |c, _| step(c)))
}
