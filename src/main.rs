//! The `rescc` command. Everything is in the library; see `rescc::cli`.

fn main() -> std::process::ExitCode {
    rescc::cli::main()
}
