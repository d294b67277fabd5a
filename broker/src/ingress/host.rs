//! A request's host -> the channel that it names, as the Service of a channel in a cluster would.

use channel::{CLUSTER_DOMAIN, Hub, Name};
use http::{Request, header};

/// What Knative appends to a channel's name for the name of its Service.
const SERVICE_SUFFIX: &str = "-kn-channel";

/// The path of the channel that the host of `request` names, if it names one:
/// `orders-kn-channel.shop.svc.cluster.local`, with `.svc` alone, a port, a last dot, or in capitals.
pub(super) fn channel<B>(request: &Request<B>) -> Option<String> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = header.or(request.uri().authority().map(|authority| authority.as_str()))?;
    named(host).map(|hub| hub.to_string())
}

fn named(host: &str) -> Option<Hub> {
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let service = [CLUSTER_DOMAIN, "svc"]
        .into_iter()
        .find_map(|domain| host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')))?;
    // A namespace has no dot in it; the name before it may.
    let (service, namespace) = service.rsplit_once('.')?;
    let name = service.strip_suffix(SERVICE_SUFFIX)?;
    let is_whole = !name.is_empty() && !namespace.is_empty();
    is_whole.then(|| Hub::channel(Name::new(namespace, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_channel_as_its_service_does() {
        for host in [
            "orders-kn-channel.shop.svc.cluster.local",
            "orders-kn-channel.shop.svc.cluster.local.",
            "orders-kn-channel.shop.svc.cluster.local:80",
            "orders-kn-channel.shop.svc",
            "Orders-KN-channel.shop.SVC:8080",
        ] {
            let named = named(host).map(|hub| hub.to_string());
            assert_eq!(named.as_deref(), Some("channels/shop/orders"), "{host}");
        }
    }

    #[test]
    fn any_other_host_names_none() {
        for host in [
            "",
            "localhost:8080",
            "[::1]:8080",
            "broker-ingress.knative-eventing.svc.cluster.local",
            "-kn-channel.shop.svc.cluster.local",
            "orders-kn-channel..svc",
            "orders-kn-channel.svc",
            "orders-kn-channel.shop.example.org",
            "orders-kn-channel.shop.svc.cluster.local.evil.org",
        ] {
            assert_eq!(named(host), None, "{host}");
        }
    }
}
