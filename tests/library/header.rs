//! Headers: C and C++ by the letter, and a comment whose program is built and runs as it says.

use super::{desc, program, succeeds};
use crate::command::{Scratch, rescc};
use backends::object;
use serde_json::Value;
use std::process::Command;

/// The program in a header's first comment: the part that is indented.
fn example(header: &str) -> String {
    let lines = header.lines().take_while(|l| *l != " */").filter_map(|l| l.strip_prefix(" *   "));
    lines.map(|l| format!("{l}\n")).collect()
}

pub fn strict() {
    let dir = Scratch::new();
    let mut p = program("net");
    p.name = "a name that */ ends comments".into();
    let labels = ["/* cat".to_string(), "dog */".to_string()];
    let text = object::named_header(&object::header(&desc("net", &p, &labels)), "net.h");
    dir.write("net.h", &text);
    let example = example(&text);
    assert!(example.contains("int main(void)"));
    dir.write("example.c", example);
    dir.write("include.cpp", "#include \"net.h\"\n#include \"net.h\"\nint x = NET_ABI;\n");
    dir.write("include.c", "#include \"net.h\"\nint x = NET_ABI;\n");
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    for (std, file) in [("c99", "include.c"), ("c11", "example.c"), ("c++17", "include.cpp"), ("c++98", "include.cpp")]
    {
        let flags = if std == "c++98" { &strict[..2] } else { &strict[..] }; // C++98 has no stdint.h by the letter
        let mut cc = Command::new("cc");
        succeeds(cc.arg(format!("-std={std}")).args(flags).args(["-fsyntax-only", file]).current_dir(dir.path("")));
    }
}

/// Files that are called otherwise than the model, as an inference and as training.
pub fn complete_program() {
    let dir = Scratch::new();
    let model = dir.path("m.rir");
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &model]).succeeds();
    let cases: [(&str, &str, &[&str]); 2] = [("my.net", "1, 1", &[]), ("trainer", "1", &["--train", "--batch", "4"])];
    for (stem, batch, more) in cases {
        let out = dir.path(stem);
        let base = ["compile", &model, "--prefix", "net", "--emit", "lib,header", "--backend", "cranelift", "--json"];
        let said = rescc(&[&base[..], &["-o", &out], more].concat()).succeeds();
        let header = String::from_utf8(dir.read(&format!("{stem}.h"))).expect("text");
        assert!(!header.contains('@'), "a placeholder is left: {header}");
        dir.write("main.c", example(&header));
        let build = header.split('`').nth(1).expect("the comment says how its program is built");
        assert_eq!(build, format!("cc main.c {stem}.a"));
        succeeds(Command::new("sh").args(["-c", build]).current_dir(dir.path("")));
        assert!(!succeeds(&mut Command::new(dir.path("a.out"))).is_empty());

        // What the compiler says of the arena is what the library asks for.
        let ask = format!("#include \"{stem}.h\"\n#include <stdio.h>\nint main(void) {{\n  ");
        let ask = ask + &format!("printf(\"%zu\", net_arena_bytes({batch}));\n  return 0;\n}}\n");
        dir.write("main.c", ask);
        succeeds(Command::new("sh").args(["-c", build]).current_dir(dir.path("")));
        let bytes: u64 = succeeds(&mut Command::new(dir.path("a.out"))).parse().expect("a number");
        let document: Value = serde_json::from_str(&said).expect("one JSON document");
        let result = &document["result"];
        assert_eq!(result["arena_bytes"].as_u64(), Some(bytes), "{result}");
        assert!(result["activation_bytes"].as_u64().is_some_and(|n| 0 < n && n <= bytes), "{result}");
    }
}
