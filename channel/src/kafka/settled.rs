//! Which records beyond a committed offset are settled already, as text to commit beside it. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

/// Records that need not be delivered again by whoever reads on from a commit.
///
/// One event that is tried again and again holds the commit back; without this, all that was delivered
/// since would come again after a kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Offsets from..to, growing.
    runs: Vec<(i64, i64)>,
}

/// Says what the text is: whatever else stands beside a commit is somebody else's.
const MARK: &str = "catchment1:";

/// Most bytes before base64: servers take 4096 characters (`offset.metadata.max.bytes`), and what does
/// not fit is delivered again.
const BYTES_MAX: usize = 2048;

impl Settled {
    /// What of `offsets` is settled; they must grow. Offsets between two of them hold nothing.
    pub(super) fn new(offsets: impl Iterator<Item = (i64, bool)>) -> Self {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        let mut was_settled = false;
        for (offset, is_settled) in offsets {
            match runs.last_mut() {
                Some(last) if was_settled && is_settled => last.1 = offset + 1,
                _ if is_settled => runs.push((offset, offset + 1)),
                _ => {}
            }
            was_settled = is_settled;
        }
        Self { runs }
    }

    /// Whether the record at `offset` is settled.
    pub(super) fn has(&self, offset: i64) -> bool {
        let after = self.runs.partition_point(|&(from, _)| from <= offset);
        let run = after.checked_sub(1).and_then(|index| self.runs.get(index));
        run.is_some_and(|&(_, to)| offset < to)
    }

    /// The text to commit beside `offset`; empty when nothing beyond it is settled.
    pub(super) fn encode(&self, offset: i64) -> String {
        let mut bytes = Vec::new();
        let mut at = offset;
        for &(from, to) in &self.runs {
            let before = bytes.len();
            for length in [from - at, to - from] {
                put(&mut bytes, u64::try_from(length).unwrap_or_default());
            }
            if bytes.len() > BYTES_MAX {
                bytes.truncate(before);
                break;
            }
            at = to;
        }
        if bytes.is_empty() {
            return String::new();
        }
        format!("{MARK}{}", BASE64_STANDARD_NO_PAD.encode(bytes))
    }

    /// Reads what stands beside the commit of `offset`. What is not ours says nothing.
    pub(super) fn decode(offset: i64, text: &str) -> Self {
        let read = || {
            let bytes = BASE64_STANDARD_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?;
            let mut rest = bytes.as_slice();
            let (mut runs, mut at) = (Vec::new(), offset);
            while !rest.is_empty() {
                let from = at.checked_add(take(&mut rest)?)?;
                at = from.checked_add(take(&mut rest)?)?;
                runs.push((from, at));
            }
            Some(Self { runs })
        };
        read().unwrap_or_default()
    }
}

/// Seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

fn take(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return i64::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_ours_says_nothing() {
        let ours = Settled::new([(7, false), (8, true)].into_iter()).encode(7);
        for text in
            ["", "x", "catchment1:", "catchment1:!", "catchment1:gA", &ours[..ours.len() - 1]]
        {
            assert_eq!(Settled::decode(7, text), Settled::default(), "{text}");
        }
        assert!(Settled::decode(7, &ours).has(8));
    }

    #[test]
    fn what_does_not_fit_is_left_out_at_the_end() {
        let all = Settled::new((0..100_000).map(|offset| (offset, offset % 2 == 1)));
        let text = all.encode(0);
        assert!(text.len() <= 4096, "{}", text.len());
        let found = Settled::decode(0, &text);
        assert!(found.has(1) && found.has(1001) && !found.has(1000) && !found.has(99_999));
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(
            start in 0_i64..1_000_000_000_000,
            records in proptest::collection::vec((1_i64..300, any::<bool>()), 1..200),
        ) {
            let mut at = start;
            let mut offsets = Vec::new();
            for (gap, is_settled) in records {
                offsets.push((at, is_settled));
                at += gap;
            }
            let settled = Settled::new(offsets.iter().copied());
            let found = Settled::decode(start, &settled.encode(start));
            for (offset, is_settled) in offsets {
                prop_assert_eq!(settled.has(offset), is_settled);
                prop_assert_eq!(found.has(offset), is_settled);
            }
            prop_assert!(!found.has(start - 1) && !found.has(at));
        }
    }
}
