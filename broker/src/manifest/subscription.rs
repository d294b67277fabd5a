//! What can be wrong with a Subscription's spec whatever else is defined, and the channel it names.

use channel::{Invalid, Name};
use dispatcher::{DeliveryChoice, SubscriptionSpec};

use super::{
    channel::names_channel,
    kind::{Kind, MESSAGING},
};

/// Adds everything that is wrong with the spec of a subscription in `namespace` on its own to
/// `problems`, in Knative's words where it has the rule.
pub(super) fn check(spec: &SubscriptionSpec, namespace: &str, problems: &mut Vec<Invalid>) {
    check_channel(spec, namespace, problems);
    match (&spec.subscriber, &spec.reply) {
        (None, None) => {
            let rule = "is required, unless there is a reply: the Subscription must reference a \
                        subscriber";
            problems.push(Invalid::new("spec.subscriber", rule));
        }
        (subscriber, reply) => {
            for (destination, path) in [(subscriber, "spec.subscriber"), (reply, "spec.reply")] {
                if let Some(destination) = destination {
                    destination.check(path, problems);
                }
            }
        }
    }
    if let Some(delivery) = &spec.delivery {
        DeliveryChoice::new(delivery, "spec.delivery", problems);
    }
}

fn check_channel(spec: &SubscriptionSpec, namespace: &str, problems: &mut Vec<Invalid>) {
    let Some(channel) = &spec.channel else {
        let rule = "is required: the Subscription must reference a channel";
        return problems.push(Invalid::new("spec.channel", rule));
    };
    let before = problems.len();
    channel.check("spec.channel", problems);
    let other = channel.namespace.as_deref().filter(|it| !it.is_empty() && *it != namespace);
    if other.is_some() {
        let rule = format!("must be {namespace}, the subscription's own");
        problems.push(Invalid::new("spec.channel.namespace", rule));
    }
    if problems.len() == before && !names_channel(channel) {
        let kinds = Kind::CHANNELS.map(Kind::as_str).join(", ");
        let group = MESSAGING.trim_end_matches('/');
        let rule = format!("must be one of {kinds}, of {group}");
        problems.push(Invalid::new("spec.channel.kind", rule));
    }
}

/// The channel whose events the subscription `name` wants.
pub(crate) fn channel_of(name: &Name, spec: &SubscriptionSpec) -> Option<Name> {
    Some(Name::new(name.namespace.clone(), spec.channel.as_ref()?.name.clone()?))
}
