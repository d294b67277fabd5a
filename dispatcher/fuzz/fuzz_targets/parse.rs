//! Any text parses or is refused within its bounds, and what is printed parses to the same tree.
#![no_main]

use dispatcher::cesql::{DEPTH_MAX, Expr, Expression, LENGTH_MAX_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Printing adds spaces and parentheses, so that an expression may become too long.
    match Expression::parse(text) {
        Ok(expression) => {
            assert!(text.len() <= LENGTH_MAX_BYTES);
            assert!(height(expression.root()) <= DEPTH_MAX);
            let printed = expression.to_string();
            if printed.len() <= LENGTH_MAX_BYTES {
                assert_eq!(Expression::parse(&printed), Ok(expression), "{printed}");
            }
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.position), "{error}");
            assert!(Expression::parse_filter(text).is_err());
        }
    }
});

fn height(expr: &Expr) -> usize {
    1 + expr.children().map(height).max().unwrap_or_default()
}
