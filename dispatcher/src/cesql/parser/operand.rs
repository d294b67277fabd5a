//! What stands between the operators: numbers, texts, attributes, calls, parentheses.

use super::refuse::{no_function, wrong};
use super::{Parser, Part, grow};
use crate::cesql::lexer::{Keyword, Kind, Symbol, Token, unquoted};
use crate::cesql::{DEPTH_MAX, Expr, Function, ParseError, Problem, Type, Value};

impl<'t> Parser<'t> {
    /// `(NOT | -)* primary`
    pub(super) fn unary(&mut self) -> Result<Part, ParseError> {
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
    fn name(&mut self, expected: &'static str) -> Result<Box<str>, ParseError> {
        let token = self.peek();
        match token.kind {
            Kind::Name => {
                self.advance();
                Ok(token.text.to_ascii_lowercase().into())
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
    pub(super) fn list(&mut self, open: Token<'t>) -> Result<(Box<[Expr]>, usize), ParseError> {
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
}

fn number(text: &str, token: Token<'_>) -> Result<Expr, ParseError> {
    let number = text.parse().map_err(|_| ParseError::new(Problem::NumberRange, token.start))?;
    Ok(Expr::Literal(Value::Integer(number)))
}
