//! Standard output, which may be full or closed: that ends an example with a line that says so, and not with a panic.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints a line to standard output, as `println!` does.
///
/// Where that cannot be, the process ends with the code 1; quietly if nobody reads any more, as with `| head`.
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {
        $crate::output::line(format_args!($($line)*))
    };
}

/// What [`say!`] does.
pub fn line(line: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) else {
        return;
    };
    if error.kind() != ErrorKind::BrokenPipe {
        // Standard error may be full too, and then there is nobody left to tell.
        let _ = writeln!(
            io::stderr(),
            "error: cannot write to standard output: {error}\n  help: free space there, or send it elsewhere"
        );
    }
    std::process::exit(1);
}

/// Ends the process with the code 2 if it was given arguments, for an example that takes none.
pub fn no_arguments() {
    let Some(first) = std::env::args_os().nth(1) else {
        return;
    };
    let is_help = first == "--help" || first == "-h";
    let text = "this example takes no arguments; its head comment explains it";
    if is_help {
        line(format_args!("{text}"));
    } else {
        let _ = writeln!(io::stderr(), "error: {text}");
    }
    std::process::exit(if is_help { 0 } else { 2 });
}
