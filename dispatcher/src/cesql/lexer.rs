//! From text to tokens. Spec: CESQL 1.0, 2.2 and `CESQLLexer.g4`.

use super::{ParseError, Problem};

/// A token and where it is, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    pub(super) start: usize,
}

impl Token<'_> {
    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        self.start.saturating_add(self.text.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters and digits that are not a keyword.
    Name,
    /// The same with underscores, as functions may have them.
    FunctionName,
    /// Digits alone.
    Digits,
    /// A text with its quotes.
    Text,
    Symbol(Symbol),
    Keyword(Keyword),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Open,
    Close,
    Comma,
    Star,
    Slash,
    Percent,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Or,
    Xor,
    Not,
    Like,
    Exists,
    In,
    True,
    False,
}

impl Keyword {
    fn of(word: &str) -> Option<Self> {
        const WORDS: [(&str, Keyword); 9] = [
            ("AND", Keyword::And),
            ("OR", Keyword::Or),
            ("XOR", Keyword::Xor),
            ("NOT", Keyword::Not),
            ("LIKE", Keyword::Like),
            ("EXISTS", Keyword::Exists),
            ("IN", Keyword::In),
            ("TRUE", Keyword::True),
            ("FALSE", Keyword::False),
        ];
        WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, keyword)| *keyword)
    }
}

/// All tokens of `text`, with one for the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let start = text.len().saturating_sub(rest.len());
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: Kind::End, text: "", start });
            return Ok(tokens);
        };
        let (kind, len) = token(first, rest, start)?;
        let Some((text, after)) = rest.split_at_checked(len) else {
            return Err(ParseError::new(Problem::Character(first), start));
        };
        tokens.push(Token { kind, text, start });
        rest = after;
    }
}

/// The token at the start of `rest`, and its length in bytes.
fn token(first: char, rest: &str, start: usize) -> Result<(Kind, usize), ParseError> {
    if first.is_ascii_alphanumeric() {
        let is_inside = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let len = rest.find(|char| !is_inside(char)).unwrap_or(rest.len());
        return Ok((word(rest.get(..len).unwrap_or_default()), len));
    }
    if matches!(first, '\'' | '"') {
        let len = text_len(first, rest);
        return len
            .map(|len| (Kind::Text, len))
            .ok_or_else(|| ParseError::new(Problem::UnclosedText, start));
    }
    let two = match rest.as_bytes() {
        [b'!', b'=', ..] | [b'<', b'>', ..] => Some(Symbol::NotEqual),
        [b'<', b'=', ..] => Some(Symbol::LessOrEqual),
        [b'>', b'=', ..] => Some(Symbol::GreaterOrEqual),
        [b'=', b'=', ..] => {
            let error = ParseError::new(unexpected("an operand", "`==`"), start);
            return Err(error.hint("equality is written with one `=`"));
        }
        _ => None,
    };
    if let Some(symbol) = two {
        return Ok((Kind::Symbol(symbol), 2));
    }
    let symbol = match first {
        '(' => Symbol::Open,
        ')' => Symbol::Close,
        ',' => Symbol::Comma,
        '*' => Symbol::Star,
        '/' => Symbol::Slash,
        '%' => Symbol::Percent,
        '+' => Symbol::Plus,
        '-' => Symbol::Minus,
        '=' => Symbol::Equal,
        '<' => Symbol::Less,
        '>' => Symbol::Greater,
        other => return Err(stray(other, start)),
    };
    Ok((Kind::Symbol(symbol), 1))
}

fn word(word: &str) -> Kind {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        Kind::Digits
    } else if word.contains('_') {
        Kind::FunctionName
    } else {
        Keyword::of(word).map_or(Kind::Name, Kind::Keyword)
    }
}

/// How long the text at the start of `rest` is, with its quotes. A `\` and what follows it belong
/// together.
fn text_len(quote: char, rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return at.checked_add(quote.len_utf8());
        }
    }
    None
}

/// What a text between quotes says: only its own quote is escaped by a `\`.
pub(super) fn unquoted(quoted: &str) -> String {
    let mut chars = quoted.chars();
    let quote = chars.next();
    chars.next_back();
    let mut text = String::with_capacity(quoted.len());
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        let next = chars.next();
        if next != quote {
            text.push('\\');
        }
        text.extend(next);
    }
    text
}

/// `expected` this, `found` that.
pub(super) fn unexpected(expected: &'static str, found: &str) -> Problem {
    Problem::Unexpected { expected, found: found.into() }
}

/// A character that does not belong here, and what its author may have meant.
fn stray(char: char, start: usize) -> ParseError {
    let error = ParseError::new(Problem::Character(char), start);
    match char {
        '&' => error.hint("write AND"),
        '|' => error.hint("write OR, or CONCAT(a, b) for texts"),
        '!' => error.hint("write NOT, or != between two values"),
        '‘' | '’' | '“' | '”' | '`' | '´' => error.hint("a text stands between ' or \""),
        '.' | ':' | '@' => error.hint(
            "a text needs quotes; names of attributes have letters and digits only, and what is \
             in the data of an event cannot be asked for",
        ),
        '_' => error.hint("names of attributes have letters and digits only"),
        _ => error,
    }
}
