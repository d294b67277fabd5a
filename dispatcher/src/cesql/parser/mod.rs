//! From tokens to the tree. Spec: CESQL 1.0, 2 and 3.6, `CESQLParser.g4`.

mod operand;
mod refuse;

use super::lexer::{Keyword, Kind, Symbol, Token, tokens, unquoted};
use super::tree::{Arithmetic, Comparison, Expr, Logic};
use super::{DEPTH_MAX, LENGTH_MAX_BYTES, ParseError, Pattern, Problem, Type};
use refuse::wrong;

/// Parses `text`. A filter has stricter rules: what could never pass an event is refused.
pub(super) fn parse(text: &str, is_filter: bool) -> Result<Expr, ParseError> {
    if text.len() > LENGTH_MAX_BYTES {
        return Err(ParseError::new(Problem::TooLong(text.len()), 0));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, is_filter };
    let Part { expr, start, .. } = parser.logic()?;
    let end = parser.peek();
    if end.kind != Kind::End {
        return Err(parser.leftover(end));
    }
    match expr.result_type() {
        Some(found) if is_filter && found != Type::Boolean => {
            let error = ParseError::new(Problem::NotBoolean(found), start);
            Err(error.hint("compare it with something"))
        }
        _ => Ok(expr),
    }
}

/// A parsed part: how deep its tree is, and where it starts.
struct Part {
    expr: Expr,
    height: usize,
    start: usize,
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    /// Parentheses and argument lists that are open.
    depth: usize,
    is_filter: bool,
}

impl<'t> Parser<'t> {
    /// The token to read next: the last one is the end, and stays.
    fn peek(&self) -> Token<'t> {
        let end = Token { kind: Kind::End, text: "", start: 0 };
        self.tokens.get(self.at).or(self.tokens.last()).copied().unwrap_or(end)
    }

    fn peek_second(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at.saturating_add(1)).copied()
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn eat(&mut self, kind: Kind) -> bool {
        let is_next = self.peek().kind == kind;
        if is_next {
            self.advance();
        }
        is_next
    }

    /// `comparison ((AND | OR | XOR) comparison)*`, all of one level.
    fn logic(&mut self) -> Result<Part, ParseError> {
        let mut first = self.comparison()?;
        let mut rest = Vec::new();
        loop {
            let (operator, name) = match self.peek().kind {
                Kind::Keyword(Keyword::And) => (Logic::And, "AND"),
                Kind::Keyword(Keyword::Or) => (Logic::Or, "OR"),
                Kind::Keyword(Keyword::Xor) => (Logic::Xor, "XOR"),
                _ => break,
            };
            self.advance();
            if rest.is_empty() {
                self.check_cast(&first, name, Type::Boolean)?;
            }
            let next = self.comparison()?;
            self.check_cast(&next, name, Type::Boolean)?;
            first.height = first.height.max(next.height);
            rest.push((operator, next.expr));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        grow(first, |first| Expr::Logic { first, rest: rest.into() })
    }

    /// `sum (= sum)*`, and the other comparisons, from left to right.
    fn comparison(&mut self) -> Result<Part, ParseError> {
        let mut left = self.sum()?;
        loop {
            let (operator, name) = match self.peek().kind {
                Kind::Symbol(Symbol::Equal) => (Comparison::Equal, "="),
                Kind::Symbol(Symbol::NotEqual) => (Comparison::NotEqual, "!="),
                Kind::Symbol(Symbol::Less) => (Comparison::Less, "<"),
                Kind::Symbol(Symbol::LessOrEqual) => (Comparison::LessOrEqual, "<="),
                Kind::Symbol(Symbol::Greater) => (Comparison::Greater, ">"),
                Kind::Symbol(Symbol::GreaterOrEqual) => (Comparison::GreaterOrEqual, ">="),
                _ => return Ok(left),
            };
            self.advance();
            let right = self.sum()?;
            match operator {
                Comparison::Equal | Comparison::NotEqual => {
                    // The right operand decides the type, so only the left one may be no text.
                    if let Some(needed) = right.expr.result_type() {
                        self.check_cast(&left, name, needed)?;
                    }
                    self.check_name(&left, [&right.expr])?;
                }
                _ => {
                    self.check_cast(&left, name, Type::Integer)?;
                    self.check_cast(&right, name, Type::Integer)?;
                }
            }
            left.height = left.height.max(right.height);
            let right = Box::new(right.expr);
            left = grow(left, |left| Expr::Compare { operator, left, right })?;
        }
    }

    /// `product ((+ | -) product)*`
    fn sum(&mut self) -> Result<Part, ParseError> {
        self.chain(Self::product, |symbol| match symbol {
            Symbol::Plus => Some((Arithmetic::Add, "+")),
            Symbol::Minus => Some((Arithmetic::Subtract, "-")),
            _ => None,
        })
    }

    /// `postfix ((* | / | %) postfix)*`
    fn product(&mut self) -> Result<Part, ParseError> {
        self.chain(Self::postfix, |symbol| match symbol {
            Symbol::Star => Some((Arithmetic::Multiply, "*")),
            Symbol::Slash => Some((Arithmetic::Divide, "/")),
            Symbol::Percent => Some((Arithmetic::Remainder, "%")),
            _ => None,
        })
    }

    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Part, ParseError>,
        operator: fn(Symbol) -> Option<(Arithmetic, &'static str)>,
    ) -> Result<Part, ParseError> {
        let mut first = operand(self)?;
        let mut rest = Vec::new();
        while let Kind::Symbol(symbol) = self.peek().kind {
            let Some((operator, name)) = operator(symbol) else { break };
            self.advance();
            if rest.is_empty() {
                self.check_cast(&first, name, Type::Integer)?;
            }
            let next = operand(self)?;
            self.check_cast(&next, name, Type::Integer)?;
            first.height = first.height.max(next.height);
            rest.push((operator, next.expr));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        grow(first, |first| Expr::Arithmetic { first, rest: rest.into() })
    }

    /// `unary ([NOT] LIKE text | [NOT] IN set)*`
    fn postfix(&mut self) -> Result<Part, ParseError> {
        let mut part = self.unary()?;
        loop {
            let is_negated = self.peek().kind == Kind::Keyword(Keyword::Not);
            let operator = if is_negated { self.peek_second() } else { Some(self.peek()) };
            match operator.map(|token| token.kind) {
                Some(Kind::Keyword(Keyword::Like)) => {
                    self.at = self.at.saturating_add(if is_negated { 2 } else { 1 });
                    let pattern = self.pattern()?;
                    self.check_name(&part, [])?;
                    part = grow(part, |text| Expr::Like { text, pattern, is_negated })?;
                }
                Some(Kind::Keyword(Keyword::In)) => {
                    self.at = self.at.saturating_add(if is_negated { 2 } else { 1 });
                    let (set, height) = self.set()?;
                    self.check_name(&part, &set)?;
                    part.height = part.height.max(height);
                    part = grow(part, |item| Expr::In { item, set, is_negated })?;
                }
                _ => return Ok(part),
            }
        }
    }

    fn pattern(&mut self) -> Result<Pattern, ParseError> {
        let token = self.peek();
        if token.kind != Kind::Text {
            let error = wrong("a text after LIKE", token);
            return Err(error.hint("the pattern must be a text in quotes, not a value"));
        }
        self.advance();
        Ok(Pattern::new(&unquoted(token.text)))
    }

    fn set(&mut self) -> Result<(Box<[Expr]>, usize), ParseError> {
        let open = self.peek();
        if !self.eat(Kind::Symbol(Symbol::Open)) {
            let error = wrong("`(` after IN", open);
            return Err(error.hint("write the set as ('a', 'b')"));
        }
        if self.peek().kind == Kind::Symbol(Symbol::Close) {
            return Err(wrong("a value", self.peek()).hint("a set must not be empty"));
        }
        self.list(open)
    }

    fn nested(
        &mut self,
        parse: fn(&mut Self) -> Result<Part, ParseError>,
    ) -> Result<Part, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth = self.depth.saturating_add(1);
        let part = parse(self);
        self.depth = self.depth.saturating_sub(1);
        part
    }

    fn too_deep(&self) -> ParseError {
        ParseError::new(Problem::TooDeep, self.peek().start)
    }
}

/// Puts a node on top of `part`, whose height is that of its highest child.
fn grow(part: Part, node: impl FnOnce(Box<Expr>) -> Expr) -> Result<Part, ParseError> {
    if part.height >= DEPTH_MAX {
        return Err(ParseError::new(Problem::TooDeep, part.start));
    }
    Ok(Part {
        expr: node(Box::new(part.expr)),
        height: part.height.saturating_add(1),
        start: part.start,
    })
}
