//! The address of a server, in the parts of a URL.

use tenantry::local::Ephemeral;

/// The folder and the port of a server's socket, as libpq expects them.
pub fn socket_of(server: &Ephemeral) -> (String, String) {
    let url: tenantry::DatabaseUrl = server.url("postgres").parse().expect("the URL of our own server");
    let part = |key| url.get(key).expect("a socket's URL has a folder and a port").to_owned();
    (part("host"), part("port"))
}

/// Percent-encoding, for the parts of a URL.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    })
}
