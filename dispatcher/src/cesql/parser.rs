//! From tokens to the tree. Spec: CESQL 1.0, 2 and 3.6, `CESQLParser.g4`.

use super::function::Function;
use super::lexer::{Keyword, Kind, Symbol, Token, tokens, unexpected, unquoted};
use super::tree::{Arithmetic, Comparison, Expr, Logic};
use super::{DEPTH_MAX, LENGTH_MAX_BYTES, ParseError, Pattern, Problem, Type, Value};
use crate::filter::AttributeName;

/// Longest part of an expression that is repeated in a message, in characters.
const QUOTED_MAX_CHARS: usize = 40;

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
                    part = grow(part, |text| Expr::Like { text, pattern, is_negated })?;
                }
                Some(Kind::Keyword(Keyword::In)) => {
                    self.at = self.at.saturating_add(if is_negated { 2 } else { 1 });
                    let (set, height) = self.set()?;
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

    /// `(NOT | -)* primary`
    fn unary(&mut self) -> Result<Part, ParseError> {
        let from = self.at;
        loop {
            match self.peek().kind {
                Kind::Keyword(Keyword::Not) => self.advance(),
                Kind::Symbol(Symbol::Minus) if !self.is_sign() => self.advance(),
                _ => break,
            }
        }
        let prefixes = self.tokens.get(from..self.at).unwrap_or_default();
        if prefixes.len() > DEPTH_MAX {
            return Err(self.too_deep());
        }
        let mut part = self.primary()?;
        for token in prefixes.iter().rev() {
            let is_not = token.kind == Kind::Keyword(Keyword::Not);
            let (name, needed) = if is_not { ("NOT", Type::Boolean) } else { ("-", Type::Integer) };
            self.check_cast(&part, name, needed)?;
            part = grow(part, if is_not { Expr::Not } else { Expr::Negate })?;
            part.start = token.start;
        }
        Ok(part)
    }

    /// Whether the `+` or `-` that is next belongs to the number right behind it.
    fn is_sign(&self) -> bool {
        let sign = self.peek();
        self.peek_second().is_some_and(|next| next.kind == Kind::Digits && next.start == sign.end())
    }

    fn primary(&mut self) -> Result<Part, ParseError> {
        let token = self.peek();
        let leaf = |expr| Ok(Part { expr, height: 1, start: token.start });
        match token.kind {
            Kind::Digits => {
                self.advance();
                leaf(number(token.text, token)?)
            }
            Kind::Symbol(sign @ (Symbol::Plus | Symbol::Minus)) if self.is_sign() => {
                self.advance();
                let digits = self.peek().text;
                self.advance();
                let minus = if sign == Symbol::Minus { "-" } else { "" };
                leaf(number(&format!("{minus}{digits}"), token)?)
            }
            Kind::Text => {
                self.advance();
                let text = unquoted(token.text);
                leaf(Expr::Literal(Value::String(text.into())))
            }
            Kind::Keyword(Keyword::True) => {
                self.advance();
                leaf(Expr::Literal(Value::Boolean(true)))
            }
            Kind::Keyword(Keyword::False) => {
                self.advance();
                leaf(Expr::Literal(Value::Boolean(false)))
            }
            Kind::Keyword(Keyword::Exists) => {
                self.advance();
                leaf(Expr::Exists(self.name("the name of an attribute after EXISTS")?))
            }
            Kind::Symbol(Symbol::Open) => {
                self.advance();
                let inner = self.nested(Self::logic)?;
                self.close(token)?;
                Ok(Part { start: token.start, ..inner })
            }
            Kind::Name | Kind::FunctionName if self.is_call() => self.call(),
            _ => leaf(Expr::Attribute(self.name("a value")?)),
        }
    }

    /// The name of an attribute; names of any case are read as lower case.
    fn name(&mut self, expected: &'static str) -> Result<AttributeName, ParseError> {
        let token = self.peek();
        match token.kind {
            Kind::Name => {
                self.advance();
                Ok(AttributeName::Plain(token.text.to_ascii_lowercase().into()))
            }
            Kind::FunctionName => {
                Err(wrong(expected, token).hint("names of attributes have letters and digits only"))
            }
            Kind::Keyword(_) => Err(wrong(expected, token)
                .hint("this is a keyword, an attribute of its name cannot be asked for")),
            Kind::Text if expected != "a value" => {
                Err(wrong(expected, token).hint("names of attributes have no quotes"))
            }
            Kind::Symbol(Symbol::Plus) => {
                Err(wrong(expected, token).hint("`+` stands between two values, or before a digit"))
            }
            _ => Err(wrong(expected, token)),
        }
    }

    fn is_call(&self) -> bool {
        self.peek_second().is_some_and(|next| next.kind == Kind::Symbol(Symbol::Open))
    }

    fn call(&mut self) -> Result<Part, ParseError> {
        let name = self.peek();
        let has_digits = name.text.bytes().any(|byte| byte.is_ascii_digit());
        if has_digits {
            return Err(wrong("an operator", self.peek_second().unwrap_or(name))
                .hint("names of functions have letters and underscores only"));
        }
        self.advance();
        let open = self.peek();
        self.advance();
        let (arguments, height) = if self.eat(Kind::Symbol(Symbol::Close)) {
            (Box::default(), 0)
        } else {
            self.list(open)?
        };
        let named = Function::named(name.text);
        let takes = |(least, most)| least <= arguments.len() && arguments.len() <= most;
        let expr = match named.filter(|function| takes(function.arity())) {
            Some(function) => Expr::Call { function, arguments },
            None if self.is_filter => return Err(no_function(name, named, arguments.len())),
            None => Expr::Missing { name: name.text.to_ascii_uppercase().into(), arguments },
        };
        let height = height.saturating_add(1);
        if height > DEPTH_MAX {
            return Err(ParseError::new(Problem::TooDeep, name.start));
        }
        Ok(Part { expr, height, start: name.start })
    }

    /// `logic (, logic)* )`; `open` has been read. Returns the height of the highest too.
    fn list(&mut self, open: Token<'t>) -> Result<(Box<[Expr]>, usize), ParseError> {
        let (mut items, mut height) = (Vec::new(), 0);
        loop {
            let item = self.nested(Self::logic)?;
            height = height.max(item.height);
            items.push(item.expr);
            if !self.eat(Kind::Symbol(Symbol::Comma)) {
                self.close(open)?;
                return Ok((items.into(), height));
            }
        }
    }

    fn close(&mut self, open: Token<'t>) -> Result<(), ParseError> {
        let token = self.peek();
        if self.eat(Kind::Symbol(Symbol::Close)) {
            return Ok(());
        }
        if token.kind == Kind::End {
            let error = wrong("`)`", token);
            return Err(error.hint(format!("it closes the `(` at position {}", open.start)));
        }
        Err(self.leftover(token))
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

    /// Refuses, in a filter, a text that can never be what an operator needs.
    fn check_cast(
        &self,
        operand: &Part,
        operator: &'static str,
        needed: Type,
    ) -> Result<(), ParseError> {
        let Expr::Literal(value @ Value::String(_)) = &operand.expr else { return Ok(()) };
        let can_be_cast = match needed {
            Type::String => true,
            Type::Integer => value.to_integer().is_some(),
            Type::Boolean => value.to_boolean().is_some(),
        };
        if can_be_cast || !self.is_filter {
            return Ok(());
        }
        let error = ParseError::new(Problem::NeverCast { operator, needed }, operand.start);
        Err(match operator {
            "<" | "<=" | ">" | ">=" => error.hint("texts and times have no order in CESQL"),
            "+" => error.hint("CONCAT(a, b) joins texts"),
            _ => error,
        })
    }

    /// What stands where an expression could have ended.
    fn leftover(&self, token: Token<'t>) -> ParseError {
        let error = wrong("an operator or the end", token);
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        match token.kind {
            Kind::Text
                if before.is_some_and(|it| it.kind == Kind::Text && it.end() == token.start) =>
            {
                error.hint("a quote within a text is written with a `\\` before it")
            }
            Kind::Symbol(Symbol::Close) => error.hint("there is no `(` that it closes"),
            Kind::Name if token.text.eq_ignore_ascii_case("is") => {
                error.hint("write EXISTS attribute, or NOT EXISTS attribute")
            }
            Kind::Name if token.text.eq_ignore_ascii_case("between") => {
                error.hint("write a >= x AND a <= y")
            }
            _ => error,
        }
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

fn number(text: &str, token: Token<'_>) -> Result<Expr, ParseError> {
    let number = text.parse().map_err(|_| ParseError::new(Problem::NumberRange, token.start))?;
    Ok(Expr::Literal(Value::Integer(number)))
}

fn no_function(name: Token<'_>, named: Option<Function>, arity: usize) -> ParseError {
    let error = ParseError::new(
        Problem::NoFunction { name: name.text.to_ascii_uppercase().into(), arity },
        name.start,
    );
    match (named, Function::near(name.text)) {
        (Some(function), _) => error.hint(match function.arity() {
            (least, usize::MAX) => format!("{function} takes {least} or more"),
            (least, most) if least == most => format!("{function} takes {least}"),
            (least, most) => format!("{function} takes {least} to {most}"),
        }),
        (None, Some(near)) => error.hint(format!("did you mean {near}?")),
        (None, None) => error,
    }
}

/// `expected` stands where `token` is.
fn wrong(expected: &'static str, token: Token<'_>) -> ParseError {
    let found = match token.kind {
        Kind::End => "the end".to_owned(),
        _ => {
            let shown: String = token.text.chars().take(QUOTED_MAX_CHARS).collect();
            let more = if shown.len() < token.text.len() { "..." } else { "" };
            format!("`{shown}{more}`")
        }
    };
    ParseError::new(unexpected(expected, &found), token.start)
}
