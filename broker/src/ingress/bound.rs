//! The bounds of the way in, and how often each was reached.

/// A bound of the way in.
///
/// Those on attributes are not among them: whoever breaks one is told so as for any other rule of
/// attributes, and counted under status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Of a head, or over HTTP/1.1 of its number of headers.
    HeadBytes,
    /// Of the number of headers, over HTTP/2.
    Headers,
    /// Of a target.
    UriBytes,
    /// Of a body.
    BodyBytes,
    /// Of the time for a head.
    HeadTime,
    /// Of the time without a request, and of that in which a client reads nothing of its answer.
    IdleTime,
    /// Of the time for a body.
    BodyTime,
    /// Of the rate of a body.
    BodyRate,
    /// Of the time that the channel may take.
    PublishTime,
    /// Of the number of events in a batch.
    BatchEvents,
    /// Of the depth of JSON.
    JsonDepth,
}

impl Bound {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::HeadBytes,
        Self::Headers,
        Self::UriBytes,
        Self::BodyBytes,
        Self::HeadTime,
        Self::IdleTime,
        Self::BodyTime,
        Self::BodyRate,
        Self::PublishTime,
        Self::BatchEvents,
        Self::JsonDepth,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeadBytes => "ingress.headBytesMax",
            Self::Headers => "ingress.headersMax",
            Self::UriBytes => "ingress.uriBytesMax",
            Self::BodyBytes => "ingress.bodyBytesMax",
            Self::HeadTime => "ingress.headTimeout",
            Self::IdleTime => "ingress.idleTimeout",
            Self::BodyTime => "ingress.bodyTimeout",
            Self::BodyRate => "ingress.bodyRateMin",
            Self::PublishTime => "ingress.publishTimeout",
            Self::BatchEvents => "ingress.batchEventsMax",
            Self::JsonDepth => "ingress.jsonDepthMax",
        }
    }
}

/// How often each bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundTally([u64; Bound::ALL.len()]);

impl BoundTally {
    /// Counts a bound that was reached.
    pub fn count(&mut self, bound: Bound) {
        if let Some(count) = self.0.get_mut(bound as usize) {
            *count += 1;
        }
    }

    /// Adds what another worker has seen.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// Every bound, and how often it was reached.
    pub fn iter(&self) -> impl Iterator<Item = (Bound, u64)> {
        Bound::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_counted_under_its_own_name() {
        for bound in Bound::ALL {
            let mut tally = BoundTally::default();
            tally.count(bound);
            let counted: Vec<_> = tally.iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!(counted, [(bound, 1)]);
        }
    }
}
