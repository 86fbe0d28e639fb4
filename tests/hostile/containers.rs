//! Files of tensors that lie about themselves.

use super::{import, small_model};
use crate::command::{Scratch, rescc};
use crate::pth_file::{Entry, Pickle, View, entry, legacy_file, zip, zip_entries, zip_file};
use crate::test;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::containers::truncated_safetensors", truncated_safetensors),
        test("hostile::containers::lying_safetensors", lying_safetensors),
        test("hostile::containers::truncated_pth", truncated_pth),
        test("hostile::containers::code_in_a_pickle", code_in_a_pickle),
        test("hostile::containers::whole_models", whole_models),
        test("hostile::containers::strange_pickles", strange_pickles),
        test("hostile::containers::short_pickles_of_much_memory", short_pickles_of_much_memory),
        test("hostile::containers::strange_archives", strange_archives),
        test("hostile::containers::views_beyond_their_storage", views_beyond_their_storage),
        test("hostile::containers::names_of_tensors", names_of_tensors),
        test("hostile::containers::other_formats", other_formats),
    ]
}

/// Cut at every boundary of the header, and around.
fn truncated_safetensors() {
    let file = small_model().read("m.safetensors");
    let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    for n in [0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, file.len() - 1] {
        import("a.safetensors", &file[..n], &[]).fails(3, &["error[E031", "--> ", "a.safetensors"]);
    }
    import("a.safetensors", &[file.as_slice(), b"more"].concat(), &[]).fails(3, &["error[E0311]", "4 bytes follow"]);
    let mut long = file;
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    import("a.safetensors", &long, &[]).fails(3, &["error[E0311]", "limit", "byte 0"]);
}

fn lying_safetensors() {
    let with_header = |header: &str, data: usize| {
        let mut f = (header.len() as u64).to_le_bytes().to_vec();
        f.extend_from_slice(header.as_bytes());
        f.resize(f.len() + data, 0);
        f
    };
    let two = |second: &str| {
        let first = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        format!(r#"{{{first},"b":{{"dtype":"F32","shape":[1],"data_offsets":{second}}}}}"#)
    };
    let cases = [
        (two("[0,4]"), 4, "E0312", "'b' overlaps"),
        (two("[8,12]"), 12, "E0312", "'b' leaves a hole"),
        (two("[4,99]"), 8, "E0312", "'b' lies at 4..99 of 8"),
        (two("[4,18446744073709551615]"), 8, "E0312", "'b' lies at"),
        (two("[4,6]"), 6, "E0312", "'b' is F32 [1] but has 2 bytes"),
        (two("[4,8]").replace("\"b\"", "\"a\""), 8, "E0312", "'a' is there twice"),
        (two("[4,8]").replace("F32", "F4"), 8, "E0312", "is F4"),
        (
            two("[4,8]")
                .replace("\"F32\",\"shape\":[1],\"data_offsets\":[4", "\"U32\",\"shape\":[1],\"data_offsets\":[4"),
            8,
            "E0307",
            "'b' has elements of type U32",
        ),
        ("[".repeat(100_000), 0, "E0311", "not valid"),
    ];
    for (header, data, code, what) in cases {
        import("a.safetensors", &with_header(&header, data), &[]).fails(3, &[code, what, "a.safetensors"]);
    }
}

fn sound() -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let views = [("conv1.weight".to_string(), View::whole("0", &[4, 3, 3, 3]))];
    (Pickle::new().state_dict(&views).stop(), vec![("0".into(), vec![0; 4 * 108])])
}

/// No prefix of either container is taken for a whole one, and none breaks the reader.
fn truncated_pth() {
    let (object, storages) = sound();
    for file in [zip_file(object.clone(), &storages), legacy_file(object, &storages, 4)] {
        let dict = rescc::import::pth::read(file.clone()).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(dict.tensors.len(), 1);
        for n in 0..file.len() {
            assert!(rescc::import::pth::read(file[..n].to_vec()).is_err(), "{n} of {} bytes", file.len());
        }
        import("a.pth", &file[..file.len() - 1], &[]).fails(3, &["error[E03", "a.pth"]);
    }
}

/// A pickle that would run a command is refused by the command's name, and the command is not run.
fn code_in_a_pickle() {
    let dir = Scratch::new();
    let marker = dir.path("was-run");
    let command = format!("touch {marker}");
    let call = |module: &str, name: &str| Pickle::new().name(module, name).raw(b"(").str(&command).raw(b"tR").stop();
    let system = call("os", "system");
    let files = [
        ("a.pth", zip_file(system.clone(), &[])),
        ("a.th", legacy_file(system.clone(), &[], 4)),
        ("a.pt", system.clone()),
        ("b.pt", [b"cos\nsystem\n(S'", command.as_bytes(), b"'\ntR."].concat()),
    ];
    for (name, file) in files {
        import(name, &file, &[]).fails(3, &["error[E0316]", "os.system", name, "byte", "nothing was run"]);
    }
    for (module, name) in [("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("runpy", "run_path")] {
        import("a.pth", &zip_file(call(module, name), &[]), &[]).fails(3, &["error[E0316]", module, name]);
    }
    // Names that are put together on the stack are names too.
    let stacked = Pickle::new().str("os").str("system").raw(b"\x93(").str(&command).raw(b"tR").stop();
    import("a.pth", &zip_file(stacked, &[]), &[]).fails(3, &["error[E0316]", "os.system"]);
    assert!(!std::path::Path::new(&marker).exists());
}

fn whole_models() {
    for (module, name) in [
        ("torchvision.models.resnet", "ResNet"),
        ("torch.nn.modules.container", "Sequential"),
        ("__main__", "Net"),
        ("my.project.models", "Classifier"),
    ] {
        let model = Pickle::new().name(module, name).raw(b")\x81}b").stop();
        for file in [zip_file(model.clone(), &[]), legacy_file(model.clone(), &[], 4)] {
            let parts = ["error[E0317]", "whole pickled model", module, "a.pth", "help: ", "state_dict()"];
            import("a.pth", &file, &[]).fails(4, &parts[..4]);
        }
    }
    let script = zip(&[entry("m/data.pkl", Pickle::new().raw(b"N").stop()), entry("m/constants.pkl", *b"x")]);
    import("a.pt", &script, &[]).fails(4, &["error[E0317]", "TorchScript"]);
}

fn strange_pickles() {
    let archive = |p: Pickle| zip_file(p.stop(), &[]);
    let cases = [
        (archive(Pickle::new().raw(b"}")), 3, "E0322", "no state dict"),
        (archive(Pickle::new().raw(b"N")), 3, "E0322", "no state dict"),
        (archive(Pickle::new().raw(b"}(").str("model").raw(b"}u")), 3, "E0322", "no state dict"),
        (archive(Pickle::new().raw(b"I1\n")), 4, "E0315", "INT"),
        (archive(Pickle::new().raw(b"C\x01x")), 4, "E0315", "SHORT_BINBYTES"),
        (archive(Pickle::new().raw(b"h\x09")), 3, "E0314", "object 9"),
        (archive(Pickle::new().raw(b"\xfe")), 3, "E0314", "0xfe"),
        (archive(Pickle::new().raw(b"X\xff\xff\xff\xff")), 3, "E0314", "ends in the middle"),
        (archive(Pickle::new().raw(&vec![b']'; 2_000_000])), 6, "E0801", "objects"),
        (archive(Pickle::new().name("copyreg", "_reconstructor")), 3, "E0316", "copyreg._reconstructor"),
        (b"\x80\x02}.".to_vec(), 3, "E0320", "bare pickle"),
        (b"\x80\x02\x8a\x0axxxxxxxxxx.".to_vec(), 3, "E0320", "magic"),
    ];
    for (file, exit, code, what) in cases {
        import("a.pth", &file, &[]).fails(exit, &[code, what, "a.pth"]);
    }
    let (object, storages) = sound();
    let legacy = legacy_file(object, &storages, 4);
    let little = legacy.windows(14).position(|w| w == b"\x0d\x00\x00\x00little_end".as_slice()).unwrap();
    let mut big = legacy.clone();
    big[little + 4 + 13] = 0x89;
    import("a.th", &big, &[]).fails(4, &["E0320", "big-endian"]);
    // A self-reference costs nothing.
    let cyclic = archive(Pickle::new().raw(b"}q\x00(").str("state_dict").raw(b"h\x00u"));
    import("a.pth", &cyclic, &[]).fails(3, &["E0322", "no state dict"]);
}

/// What a pickle has once and uses again and again is not copied each time.
fn short_pickles_of_much_memory() {
    let long_shape = Pickle::new()
        .name("torch._utils", "_rebuild_tensor_v2")
        .raw(b"q\x03((")
        .str("storage")
        .name("torch", "FloatStorage")
        .str("0")
        .str("cpu")
        .raw(b"K\x01tQK\x00(")
        .raw(&b"K\x01".repeat(200_000))
        .raw(b"tq\x01h\x01tq\x02")
        .raw(&b"h\x03h\x02R0".repeat(2_000));
    let long_key = Pickle::new()
        .raw(b"(")
        .str("storage")
        .name("torch", "FloatStorage")
        .str(&"k".repeat(100_000))
        .str("cpu")
        .raw(b"K\x01tq\x00")
        .raw(&b"h\x00Q0".repeat(40_000));
    let long_list = Pickle::new()
        .raw(b"NN\x86q\x00")
        .name("collections", "OrderedDict")
        .raw(b"q\x01](")
        .raw(&b"h\x00".repeat(10_000))
        .raw(b"e\x85q\x02")
        .raw(&b"h\x01h\x02R0".repeat(1_000));
    let cases = [
        (long_shape, 3, "E0314", "more than 8 dimensions"),
        (long_key, 3, "E0314", "wrong form"),
        (long_list, 6, "E0801", "objects"),
    ];
    for (pickle, exit, code, what) in cases {
        import("a.pth", &pickle.stop(), &[]).fails(exit, &[code, what, "a.pth"]);
    }
}

fn strange_archives() {
    let (object, storages) = sound();
    let entries = zip_entries(object, &storages);
    let data = entries.iter().position(|e| e.name == "archive/data/0").unwrap();
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        zip(&entries)
    };
    let cases = [
        (with(&|e| e[data].method = 8), "is compressed"),
        (with(&|e| e[data].flags = 1), "is encrypted"),
        (with(&|e| e[data].crc = Some(7)), "wrong checksum"),
        (with(&|e| e[data].local_name = Some("archive/data/1".into())), "two headers"),
        (with(&|e| e[data].sizes = Some([1 << 30, 64])), "two sizes"),
        (with(&|e| e[data].sizes = Some([1 << 30, 1 << 30])), "two headers"),
        (with(&|e| e[data].offset = Some(u32::MAX - 1)), "two headers"),
        (with(&|e| e.push(e[data].clone())), "is there twice"),
        (with(&|e| e.push(entry("elsewhere/x", *b"x"))), "not under 'archive/'"),
        (with(&|e| e[1].data = b"big".to_vec()), "big-endian"),
        (with(&|e| drop(e.remove(0))), "no data.pkl"),
        (zip(&[]), "no data.pkl"),
        (b"PK\x03\x04".to_vec(), "end of the archive is missing"),
    ];
    for (file, what) in cases {
        let outcome = import("a.pth", &file, &[]);
        let exit = if what == "big-endian" { 4 } else { 3 };
        outcome.fails(exit, &["E0318", what, "a.pth"]);
    }
    // The directory points two entries at one place.
    let mut overlapping = entries.clone();
    overlapping.push(entry("archive/data/1", storages[0].1.clone()));
    let file = zip(&overlapping);
    let first = file.windows(18).position(|w| w == b"archive/data/0\x00\x00\x00\x00").unwrap() as u32 - 30;
    overlapping.last_mut().unwrap().offset = Some(first);
    import("a.pth", &zip(&overlapping), &[]).fails(3, &["E0318"]);
    // An entry inside another is refused before its checksum is looked at.
    let mut nested = entries.clone();
    nested.push(entry("archive/data/2", zip(&[entry("archive/data/1", *b"x")])));
    nested.push(Entry { crc: Some(7), ..entry("archive/data/1", *b"x") });
    let inside = zip(&nested).windows(14).position(|w| w == b"archive/data/1").unwrap() as u32 - 30;
    nested.last_mut().unwrap().offset = Some(inside);
    import("a.pth", &zip(&nested), &[]).fails(3, &["E0318", "two entries overlap", "a.pth"]);
}

fn views_beyond_their_storage() {
    let weight = View::whole("0", &[4, 3, 3, 3]);
    let cases = [
        (View { offset: 1, ..weight.clone() }, "beyond the 108 elements"),
        (View { shape: vec![5, 3, 3, 3], ..weight.clone() }, "beyond the 108 elements"),
        (View { strides: vec![27, 9, 3, 2], ..weight.clone() }, "beyond the 108 elements"),
        (View { strides: vec![i64::MAX, 9, 3, 1], ..weight.clone() }, "beyond the 108 elements"),
        (View { shape: vec![1 << 40], strides: vec![0], ..weight.clone() }, "beyond the 108 elements"),
        (View { elements: 1000, ..weight.clone() }, "1000 were announced"),
        (View { key: "7".into(), ..weight.clone() }, "storage '7' is not in the file"),
    ];
    for (view, what) in cases {
        let object = Pickle::new().state_dict(&[("conv1.weight".into(), view)]).stop();
        let file = zip_file(object, &[("0".into(), vec![0; 4 * 108])]);
        import("a.pth", &file, &[]).fails(3, &["E0321", "'conv1.weight'", what, "a.pth"]);
    }
    let two = [("a".to_string(), weight.clone()), ("b".to_string(), View { elements: 5, ..weight.clone() })];
    let file = zip_file(Pickle::new().state_dict(&two).stop(), &[("0".into(), vec![0; 4 * 108])]);
    import("a.pth", &file, &[]).fails(3, &["E0321", "two different things"]);
    // Negative numbers are no sizes, and dimensions are few.
    let many = View { shape: vec![1; 9], strides: vec![1; 9], ..weight.clone() };
    for view in [View { offset: -1, ..weight.clone() }, View { strides: vec![-1, 9, 3, 1], ..weight }, many] {
        let object = Pickle::new().state_dict(&[("conv1.weight".into(), view)]).stop();
        import("a.pth", &zip_file(object, &[("0".into(), vec![0; 4 * 108])]), &[]).fails(3, &["E0314"]);
    }
}

fn names_of_tensors() {
    let run = |names: &[&str]| {
        let views: Vec<(String, View)> = names.iter().map(|n| (n.to_string(), View::whole("0", &[1]))).collect();
        import("a.pth", &zip_file(Pickle::new().state_dict(&views).stop(), &[("0".into(), vec![0; 4])]), &[])
    };
    run(&["a", "b", "a"]).fails(3, &["E0321", "'a' is there twice", "a.pth"]);
    run(&["m".repeat(4097).as_str()]).fails(3, &["E0321", "4097 bytes", "a.pth"]);
}

fn other_formats() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    import("a.pth", &tar, &[]).fails(4, &["E0319", "tar form", "a.pth"]);
    import("a.h5", b"\x89HDF\r\n\x1a\n", &[]).fails(4, &["E0323", "HDF5", "a.h5"]);
    import("a.onnx", b"\x08\x07", &[]).fails(4, &["E0323", "ONNX", "a.onnx"]);
    import("notes.txt", b"Dear diary, ", &[]).fails(3, &["E0323", "no file of tensors", "notes.txt"]);
    import("empty.pth", b"", &[]).fails(3, &["E0314", "empty.pth"]);
    let dir = Scratch::new();
    let folder = dir.path("");
    rescc(&["import", &folder, "-o", &dir.path("x.rir")]).fails(3, &["E0805", "no regular file"]);
}
