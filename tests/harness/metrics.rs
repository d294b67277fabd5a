//! The metrics page, read line by line: Prometheus text and OpenMetrics text.

use std::collections::BTreeMap;

/// One sample of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The name with its suffix.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Reads a page whole.
///
/// # Errors
///
/// The first line that is not well-formed, or a sample whose family was not declared before it.
pub fn parse(page: &str) -> Result<Vec<Point>, String> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut points = Vec::new();
    let mut is_over = false;
    for (number, line) in page.lines().enumerate() {
        let wrong = |why: &str| format!("line {}: {why}: {line:?}", number + 1);
        if is_over {
            return Err(wrong("after the end"));
        }
        match line.strip_prefix("# ") {
            Some("EOF") => is_over = true,
            Some(comment) => {
                let mut words = comment.splitn(3, ' ');
                let (kind, name, rest) =
                    (words.next(), words.next().unwrap_or_default(), words.next());
                if !is_name(name) {
                    return Err(wrong("no metric name"));
                }
                match kind {
                    Some("HELP" | "UNIT") => {}
                    Some("TYPE") if types.insert(name, rest.unwrap_or_default()).is_none() => {}
                    _ => return Err(wrong("not HELP, UNIT or a first TYPE")),
                }
            }
            None if line.is_empty() => {}
            None => {
                let point = point(line).map_err(|why| wrong(&why))?;
                if !is_declared(&point.name, &types) {
                    return Err(wrong("no TYPE before it"));
                }
                points.push(point);
            }
        }
    }
    Ok(points)
}

fn is_declared(name: &str, types: &BTreeMap<&str, &str>) -> bool {
    let suffixes = ["_total", "_bucket", "_sum", "_count", "_created", "_info"];
    types.contains_key(name)
        || suffixes
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|name| types.contains_key(name)))
}

fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

fn point(line: &str) -> Result<Point, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err(format!("name {name:?}"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = label_set(inside, &mut labels)?;
    }
    let mut words = rest.split_whitespace();
    let value = words.next().ok_or("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().map_err(|_| format!("value {number:?}"))?,
    };
    match words.next() {
        None => Ok(Point { name: name.to_owned(), labels, value }),
        Some(stamp) if stamp == "#" || stamp.parse::<f64>().is_ok() => {
            Ok(Point { name: name.to_owned(), labels, value })
        }
        Some(other) => Err(format!("after the value: {other:?}")),
    }
}

fn label_set<'a>(
    mut rest: &'a str,
    labels: &mut BTreeMap<String, String>,
) -> Result<&'a str, String> {
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = rest.split_once("=\"").ok_or("label without value")?;
        if !is_name(name) {
            return Err(format!("label name {name:?}"));
        }
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("label value without end")? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some(escaped @ ('\\' | '"')) => value.push(escaped),
                    other => return Err(format!("escape {other:?}")),
                },
                (_, plain) => value.push(plain),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        rest = &after[end..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_page_is_read_and_a_bad_line_is_named() {
        let page =
            "# HELP a_total Things.\n# TYPE a counter\na_total{x=\"1\",y=\"\\\"\"} 4\n# EOF\n";
        let points = parse(page).unwrap();
        assert_eq!((points[0].labels["y"].as_str(), points[0].value), ("\"", 4.0));
        for bad in ["a 1\n", "# TYPE a counter\na{x=1} 1\n", "# TYPE a counter\na one\n"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
