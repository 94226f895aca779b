//! Tests of the egress guard: URL forms, ranges, own listeners.

use std::net::{IpAddr, SocketAddr};

use super::{Allow, EgressError, Guard, Host, Ports, Rules, Scheme, UrlError};

fn guard(allow: &[(&str, &str)], own: &[&str]) -> Guard {
    let allow = allow
        .iter()
        .map(|(cidr, ports)| Allow { cidr: cidr.parse().unwrap(), ports: ports.parse().unwrap() })
        .collect();
    let rules = Rules { allow, ports: None };
    let mut guard = Guard::new(rules, own.iter().map(|a| a.parse().unwrap()).collect());
    guard.local_addresses = || Some(vec!["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()]);
    guard
}

/// Names the kind of a refusal without its particulars, so that one table can hold all of them.
fn kind(error: EgressError) -> &'static str {
    match error {
        EgressError::Url(UrlError::Length) => "length",
        EgressError::Url(UrlError::Character) => "character",
        EgressError::Url(UrlError::Scheme) => "scheme",
        EgressError::Url(UrlError::UserInformation) => "user",
        EgressError::Url(UrlError::Query) => "query",
        EgressError::Url(UrlError::Fragment) => "fragment",
        EgressError::Url(UrlError::Percent) => "percent",
        EgressError::Url(UrlError::HostMissing) => "missing",
        EgressError::Url(UrlError::HostName) => "name",
        EgressError::Url(UrlError::NotCanonical) => "canonical",
        EgressError::Url(UrlError::Port) => "port form",
        EgressError::Url(UrlError::Path) => "path",
        EgressError::Port { .. } => "port",
        EgressError::Plain => "plain",
        EgressError::Range { .. } => "range",
        EgressError::OwnListener { .. } => "own",
        EgressError::NoAddress => "none",
    }
}

/// Refused by a guard without rules; grouped by the reason.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "scheme",
        &[
            "",
            "/",
            "//",
            "//api.openai.com/v1",
            "api.openai.com",
            "api.openai.com:443/v1",
            "https:api.openai.com",
            "https:/api.openai.com",
            "https",
            "https:",
            "ftp://api.openai.com/",
            "file:///etc/passwd",
            "file://localhost/etc/passwd",
            "gopher://127.0.0.1:6379/_PING",
            "dict://127.0.0.1:11211/stat",
            "ldap://127.0.0.1/",
            "unix:///var/run/docker.sock",
            "http+unix://var/run/docker.sock",
            "unix:/var/run/docker.sock",
            "ws://api.openai.com/",
            "wss://api.openai.com/",
            "httpss://api.openai.com/",
            "http2://api.openai.com/",
            "jar:https://api.openai.com!/",
            "view-source:https://api.openai.com/",
            "data:text/plain,x",
            "javascript:alert(1)",
            "tftp://api.openai.com/",
            "sftp://api.openai.com/",
            "redis://127.0.0.1:6379",
            "url:https://api.openai.com",
            "://api.openai.com",
            "-https://api.openai.com",
            "https-://api.openai.com",
            "htt\u{70}s.//api.openai.com",
        ],
    ),
    (
        "character",
        &[
            " https://api.openai.com",
            "https://api.openai.com ",
            "https ://api.openai.com",
            "https: //api.openai.com",
            "https:// api.openai.com",
            "https://api. openai.com",
            "https://api.openai.com /v1",
            "https://api.openai.com/v 1",
            "\thttps://api.openai.com",
            "https://api\t.openai.com",
            "ht\ttps://api.openai.com",
            "https://api.openai.com\t",
            "https://api.openai.com\n",
            "https://api.openai.com\r\nhost: evil",
            "https://api.openai.com/v1\r\nx-evil: 1",
            "https://api\n.openai.com",
            "https://127.0\n.0.1",
            "https://api.openai.com\0",
            "https://api.openai.com\0.evil.example",
            "https://api.openai.com/v1\0",
            "https:\\\\api.openai.com",
            "https:/\\api.openai.com",
            "https:\\/api.openai.com",
            "https://api.openai.com\\@evil.example",
            "https://evil.example\\.openai.com",
            "https://api.openai.com/\\evil.example",
            "https://api.openai.com\\v1",
            "https://\\evil.example",
            "https://api.openai.com/..\\..",
            "https://api.openai.com\u{7f}",
            "https://api.openai.com/\u{1b}[31m",
            "https://\u{feff}api.openai.com",
            "\u{feff}https://api.openai.com",
            "https://\u{200b}api.openai.com",
            "https://api\u{ad}.openai.com",
            "https://api\u{200d}.openai.com",
            "https://api.openai.com\u{202e}",
            "https://b\u{fc}cher.example",
            "https://\u{430}pi.openai.com",
            "https://api\u{3002}openai.com",
            "https://api\u{ff0e}openai.com",
            "https://127\u{3002}0\u{3002}0\u{3002}1",
            "https://127\u{ff61}0.0.1",
            "https://\u{2460}\u{2461}\u{2466}.0.0.1",
            "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "https://\u{661}\u{662}\u{667}.0.0.1",
            "https://example\u{2044}evil.example",
            "https://example\u{ff0f}evil.example",
            "https://example\u{ff20}evil.example",
            "https://example\u{ff1a}443",
            "https://\u{24d4}\u{24e7}ample.com",
            "https://\u{212a}elvin.example",
            "https://\u{17f}tripe.example",
            "https://fa\u{df}.example",
            "https://xn--\u{fc}.example",
            "http\u{ff53}://api.openai.com",
            "https\u{ff1a}//api.openai.com",
            "https://[::\u{ff11}]",
            "https://api.openai.com:\u{661}",
            "https://api.openai.com/v1/\u{e9}",
            "https://\u{1f600}.example",
        ],
    ),
    (
        "user",
        &[
            "https://user@api.openai.com",
            "https://user:secret@api.openai.com/v1",
            "https://@api.openai.com",
            "https://:@api.openai.com",
            "https://:secret@api.openai.com",
            "https://api.openai.com@evil.example",
            "https://api.openai.com:443@evil.example",
            "https://evil.example@api.openai.com@evil.example",
            "https://a@b@c",
            "https://api.openai.com&@evil.example",
            "https://127.0.0.1@api.openai.com",
            "https://api.openai.com@127.0.0.1",
            "https://[::1]@api.openai.com",
            "https://api.openai.com@[::1]",
            "https://foo@evil.example:80@api.openai.com",
            "https://foo@127.0.0.1:11211:80",
            "https://api.openai.com@",
        ],
    ),
    (
        "query",
        &[
            "https://api.openai.com?",
            "https://api.openai.com/?",
            "https://api.openai.com/v1?api-version=2024",
            "https://api.openai.com?@evil.example",
            "https://evil.example?.openai.com",
            "?https://api.openai.com",
            "https://?api.openai.com",
        ],
    ),
    (
        "fragment",
        &[
            "https://api.openai.com#",
            "https://api.openai.com/#",
            "https://api.openai.com/v1#x",
            "https://api.openai.com#@evil.example",
            "https://evil.example#.openai.com",
            "#https://api.openai.com",
            "https://foo@evil.example#@api.openai.com",
            "https://#",
        ],
    ),
    (
        "percent",
        &[
            "https://api%2eopenai.com",
            "https://127%2e0%2e0%2e1",
            "https://%31%32%37.0.0.1",
            "https://%6c%6f%63%61%6c%68%6f%73%74",
            "https://localhost%00.example",
            "https://api.openai.com%00",
            "https://api.openai.com%2f@evil.example",
            "https://api.openai.com%40evil.example",
            "https://api.openai.com%23@evil.example",
            "https://api.openai.com%5c@evil.example",
            "https://api.openai.com%3a80",
            "https://api.openai.com:%34%34%33",
            "https://[fe80::1%25eth0]",
            "https://[fe80::1%eth0]",
            "https://[fe80::1%2525eth0]",
            "https://[::1%251]",
            "https://[::1%lo]",
            "https://[%3a%3a1]",
            "https%3a//api.openai.com",
            "https://api.openai.com/%2e%2e/admin",
            "https://api.openai.com/%2e/admin",
            "https://api.openai.com/.%2e/admin",
            "https://api.openai.com/%252e%252e/",
            "https://api.openai.com/v1%2f..",
            "https://api.openai.com/%0d%0ahost:evil",
            "https://api.openai.com/%",
            "https://api.openai.com/%zz",
            "https://b%c3%bccher.example",
            "https://%e3%80%82",
        ],
    ),
    (
        "missing",
        &[
            "https://",
            "https:///",
            "https:///v1",
            "https:////api.openai.com",
            "https://:443",
            "https://:443/v1",
            "https://:/v1",
            "https://:",
            "http://",
            "http:///etc/passwd",
        ],
    ),
    (
        "name",
        &[
            "https://.",
            "https://..",
            "https://api.openai.com.",
            "https://api.openai.com./v1",
            "https://api.openai.com.:443",
            "https://localhost.",
            "https://.api.openai.com",
            "https://api..openai.com",
            "https://api.openai..com",
            "https://-api.openai.com",
            "https://api-.openai.com",
            "https://api.-openai.com",
            "https://-",
            "https://a,b.example",
            "https://a;b.example",
            "https://a!b.example",
            "https://a$b.example",
            "https://$(id).example",
            "https://`id`.example",
            "https://a'b.example",
            "https://a\"b.example",
            "https://a(b).example",
            "https://a*b.example",
            "https://*.example",
            "https://a+b.example",
            "https://a=b.example",
            "https://a~b.example",
            "https://a^b.example",
            "https://a|b.example",
            "https://a{b}.example",
            "https://{host}.example",
            "https://${HOST}",
            "https://<host>",
            "https://api.openai.com]",
            "https://a[b].example",
            "https://api.openai.com&evil.example",
            "https://api.openai.com,evil.example",
        ],
    ),
    (
        "canonical",
        &[
            "https://0",
            "https://1",
            "https://127",
            "https://127.1",
            "https://127.0.1",
            "https://10.1",
            "https://192.168.1",
            "https://2130706433",
            "https://2852039166",
            "https://3232235521",
            "https://4294967295",
            "https://4294967296",
            "https://18446744073709551617",
            "https://017700000001",
            "https://0177.1",
            "https://0177.0.0.1",
            "https://127.0.0.01",
            "https://127.0.00.1",
            "https://00127.0.0.1",
            "https://0251.0376.0251.0376",
            "https://0000000177.0.0.1",
            "https://08.8.8.8",
            "https://8.8.8.08",
            "https://0x7f.1",
            "https://0x7f000001",
            "https://0x7F000001",
            "https://0X7f000001",
            "https://0x7f.0x0.0x0.0x1",
            "https://0xa9.0xfe.0xa9.0xfe",
            "https://0xa9fea9fe",
            "https://127.0.0.0x1",
            "https://127.0.0.0X1",
            "https://0x",
            "https://0X",
            "https://1.0x",
            "https://0x7f000001deadbeef",
            "https://256.0.0.1",
            "https://127.0.0.256",
            "https://1.2.3.4.5",
            "https://1.2.3.",
            "https://1.2.3.4.",
            "https://127.0.0.1.",
            "https://127.1.",
            "https://0x7f.1.",
            "https://.1",
            "https://1..2",
            "https://127..1",
            "https://127.0.0.1..1",
            "https://example.0",
            "https://example.1",
            "https://example.08",
            "https://example.0x1",
            "https://example.com.1",
            "https://-1.2.3.4",
            "https://1.2.3.-4.5",
            "https://1e3.0.0.1",
            "https://12_7.0.0.1",
            "https://8.8.8.8.8.8.8.8",
            "https://999999999999999999999",
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:7f00:1]",
            "https://[::FFFF:127.0.0.1]",
            "https://[0:0:0:0:0:ffff:127.0.0.1]",
            "https://[::ffff:8.8.8.8]",
            "https://[::127.0.0.1]",
            "https://[64:ff9b::127.0.0.1]",
            "https://[64:ff9b::8.8.8.8]",
            "https://[0:0:0:0:0:0:0:1]",
            "https://[0000::1]",
            "https://[::0001]",
            "https://[::01]",
            "https://[0::1]",
            "https://[::0]",
            "https://[0:0:0:0:0:0:0:0]",
            "https://[2606:4700:0:0:0:0:0:1111]",
            "https://[2606:4700:4700:0000:0000:0000:0000:1111]",
            "https://[2606:4700:4700::0:1111]",
            "https://[2606:4700:4700:0::1111]",
            "https://[2606:4700:4700::01111]",
            "https://[2606:4700:4700::111G]",
            "https://[2606:4700:4700::AbCd]",
            "https://[2606:4700:4700::ABCD]",
            "https://[2606:4700::1::1]",
            "https://[1:2:3:4:5:6:7]",
            "https://[1:2:3:4:5:6:7:8:9]",
            "https://[]",
            "https://[]:443",
            "https://[:]",
            "https://[:::]",
            "https://[::1",
            "https://[::1/v1",
            "https://[[::1]]",
            "https://[::1]]",
            "https://[::1]x",
            "https://[::1]443",
            "https://[::1].example",
            "https://[api.openai.com]",
            "https://[127.0.0.1]",
            "https://[v1.fe80::a]",
            "https://[::1.2.3]",
            "https://[::1.2.3.4.5]",
            "https://[::1",
            "https://::1]",
            "https://::1",
            "https://::1/v1",
            "https://2606:4700:4700::1111",
            "https://2606:4700:4700::1111:443",
            "https://api.openai.com:443:443",
            "https://api.openai.com::443",
            "https://127.0.0.1:11211:80",
            "https://a:b:c",
            "https://[",
        ],
    ),
    (
        "port form",
        &[
            "https://api.openai.com:",
            "https://api.openai.com:/v1",
            "https://api.openai.com:0",
            "https://api.openai.com:00443",
            "https://api.openai.com:0443",
            "https://api.openai.com:65536",
            "https://api.openai.com:65979",
            "https://api.openai.com:99999",
            "https://api.openai.com:4294967739",
            "https://api.openai.com:-443",
            "https://api.openai.com:+443",
            "https://api.openai.com:443a",
            "https://api.openai.com:0x1bb",
            "https://api.openai.com:4_4_3",
            "https://api.openai.com:https",
            "https://api.openai.com:443,80",
            "https://[::1]:",
            "https://[::1]:0",
            "https://[::1]:x",
            "https://1.1.1.1:",
            "https://api.openai.com:443;",
            "https://api.openai.com:443.",
        ],
    ),
    (
        "path",
        &[
            "https://api.openai.com//",
            "https://api.openai.com//v1",
            "https://api.openai.com/v1//",
            "https://api.openai.com/v1//chat",
            "https://api.openai.com/.",
            "https://api.openai.com/./v1",
            "https://api.openai.com/v1/.",
            "https://api.openai.com/v1/./",
            "https://api.openai.com/..",
            "https://api.openai.com/../",
            "https://api.openai.com/../admin",
            "https://api.openai.com/v1/../admin",
            "https://api.openai.com/v1/..",
            "https://api.openai.com/v1/../",
            "https://api.openai.com//evil.example",
            "https://api.openai.com/https://evil.example",
            "https://api.openai.com/v1;jsessionid=1",
            "https://api.openai.com/..;/admin",
            "https://api.openai.com/v1/{model}",
            "https://api.openai.com/v1/$(id)",
            "https://api.openai.com/v1/`id`",
            "https://api.openai.com/v1/<x>",
            "https://api.openai.com/v1/\"x\"",
            "https://api.openai.com/v1/'x'",
            "https://api.openai.com/v1/a|b",
            "https://api.openai.com/v1/a^b",
            "https://api.openai.com/v1/[a]",
            "https://api.openai.com/v1/a&b",
        ],
    ),
    (
        "port",
        &[
            "https://api.openai.com:1",
            "https://api.openai.com:22",
            "https://api.openai.com:25",
            "https://api.openai.com:53",
            "https://api.openai.com:79",
            "https://api.openai.com:81",
            "https://api.openai.com:442",
            "https://api.openai.com:444",
            "https://api.openai.com:2375",
            "https://api.openai.com:3306",
            "https://api.openai.com:5432",
            "https://api.openai.com:6379",
            "https://api.openai.com:6443",
            "https://api.openai.com:7999",
            "https://api.openai.com:9000",
            "https://api.openai.com:9001",
            "https://api.openai.com:9200",
            "https://api.openai.com:10250",
            "https://api.openai.com:11211",
            "https://api.openai.com:11433",
            "https://api.openai.com:11435",
            "https://api.openai.com:27017",
            "https://api.openai.com:65535",
            "https://1.1.1.1:22",
            "https://[2606:4700:4700::1111]:22",
        ],
    ),
    (
        "plain",
        &[
            "http://api.openai.com",
            "http://api.openai.com/v1",
            "http://api.openai.com:80/v1",
            "http://api.openai.com:443/v1",
            "http://localhost",
            "http://localhost:11434/v1",
            "HTTP://api.openai.com",
            "http://vllm:8000/v1",
            "http://1.1.1.1",
            "http://8.8.8.8:8080/v1",
            "http://[2606:4700:4700::1111]",
            "http://metadata.google.internal/computeMetadata/v1",
        ],
    ),
    (
        "range",
        &[
            "http://169.254.169.254/v1",
            "https://169.254.169.254",
            "https://169.254.170.2",
            "https://0.0.0.0",
            "https://0.1.2.3",
            "https://10.0.0.1",
            "https://10.255.255.255",
            "https://100.64.0.1",
            "https://100.100.100.200",
            "https://100.127.255.255",
            "https://127.0.0.1",
            "https://127.0.0.1:8000/v1",
            "http://127.0.0.1:11434/v1",
            "https://127.255.255.254",
            "https://127.127.127.127",
            "https://168.63.129.16",
            "https://172.16.0.1",
            "https://172.31.255.255",
            "https://192.0.0.1",
            "https://192.0.0.192",
            "https://192.0.2.1",
            "https://192.88.99.1",
            "https://192.168.0.1",
            "https://192.168.255.255",
            "https://198.18.0.1",
            "https://198.19.255.255",
            "https://198.51.100.1",
            "https://203.0.113.1",
            "https://224.0.0.1",
            "https://239.255.255.250",
            "https://240.0.0.1",
            "https://255.255.255.255",
            "https://[::]",
            "https://[::1]",
            "http://[::1]:8000",
            "https://[::2]",
            "https://[::7f00:1]",
            "https://[::ffff:0:7f00:1]",
            "https://[64:ff9b::808:808]",
            "https://[64:ff9b::7f00:1]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://[64:ff9b:1::1]",
            "https://[64:ff9b:1:a9fe:a9:fe00::]",
            "https://[100::1]",
            "https://[2001::1]",
            "https://[2001:0:7f00:1::1]",
            "https://[2001:2::1]",
            "https://[2001:10::1]",
            "https://[2001:20::1]",
            "https://[2001:1ff::1]",
            "https://[2001:db8::1]",
            "https://[2002:7f00:1::]",
            "https://[2002:a9fe:a9fe::1]",
            "https://[2002:808:808::1]",
            "https://[3fff::1]",
            "https://[3fff:fff::1]",
            "https://[4000::1]",
            "https://[5f00::1]",
            "https://[8000::1]",
            "https://[e000::1]",
            "https://[fc00::1]",
            "https://[fd00:ec2::254]",
            "https://[fdff:ffff::1]",
            "https://[fe80::1]",
            "https://[febf::1]",
            "https://[fec0::1]",
            "https://[feff::1]",
            "https://[ff02::1]",
            "https://[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]",
            "https://[2606:4700::5efe:7f00:1]",
            "https://[2606:4700::200:5efe:a00:1]",
        ],
    ),
];

/// Accepted by a guard without rules, and what each becomes.
const ACCEPTED: &[(&str, &str)] = &[
    ("https://api.openai.com", "https://api.openai.com"),
    ("https://api.openai.com/", "https://api.openai.com"),
    ("https://api.openai.com/v1", "https://api.openai.com/v1"),
    ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
    ("HTTPS://api.openai.com/v1", "https://api.openai.com/v1"),
    ("hTTpS://API.OpenAI.COM/V1", "https://api.openai.com/V1"),
    ("https://api.openai.com:443/v1", "https://api.openai.com/v1"),
    ("https://api.openai.com:80", "https://api.openai.com:80"),
    ("https://api.openai.com:8000", "https://api.openai.com:8000"),
    ("https://api.openai.com:8443", "https://api.openai.com:8443"),
    ("https://api.openai.com:8999", "https://api.openai.com:8999"),
    ("https://ollama.example:11434", "https://ollama.example:11434"),
    ("https://a", "https://a"),
    ("https://localhost", "https://localhost"),
    ("https://my_model.internal/v1", "https://my_model.internal/v1"),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example"),
    ("https://127.0.0.1.nip.io", "https://127.0.0.1.nip.io"),
    ("https://0x7f.1.example", "https://0x7f.1.example"),
    ("https://1password.example", "https://1password.example"),
    ("https://0xg", "https://0xg"),
    ("https://3com.com", "https://3com.com"),
    ("https://1.2.3.4a", "https://1.2.3.4a"),
    ("https://a--b.example", "https://a--b.example"),
    ("https://1.1.1.1", "https://1.1.1.1"),
    ("https://1.1.1.1:8080/v1", "https://1.1.1.1:8080/v1"),
    ("https://9.255.255.255", "https://9.255.255.255"),
    ("https://11.0.0.0", "https://11.0.0.0"),
    ("https://100.63.255.255", "https://100.63.255.255"),
    ("https://100.128.0.0", "https://100.128.0.0"),
    ("https://126.255.255.255", "https://126.255.255.255"),
    ("https://128.0.0.0", "https://128.0.0.0"),
    ("https://169.253.255.255", "https://169.253.255.255"),
    ("https://169.255.0.0", "https://169.255.0.0"),
    ("https://172.15.255.255", "https://172.15.255.255"),
    ("https://172.32.0.0", "https://172.32.0.0"),
    ("https://192.0.1.0", "https://192.0.1.0"),
    ("https://192.0.3.0", "https://192.0.3.0"),
    ("https://192.167.255.255", "https://192.167.255.255"),
    ("https://192.169.0.0", "https://192.169.0.0"),
    ("https://198.17.255.255", "https://198.17.255.255"),
    ("https://198.20.0.0", "https://198.20.0.0"),
    ("https://223.255.255.255", "https://223.255.255.255"),
    ("https://[2606:4700:4700::1111]", "https://[2606:4700:4700::1111]"),
    ("https://[2606:4700:4700::1111]:443/v1/", "https://[2606:4700:4700::1111]/v1"),
    ("https://[2606:4700:4700::1111]:8080", "https://[2606:4700:4700::1111]:8080"),
    ("https://[2001:200::1]", "https://[2001:200::1]"),
    ("https://[2001:db7::1]", "https://[2001:db7::1]"),
    ("https://[2003::1]", "https://[2003::1]"),
    ("https://[3fff:1000::1]", "https://[3fff:1000::1]"),
    ("https://[2606:4700::5efe:808:808]", "https://[2606:4700::5efe:808:808]"),
    ("https://r.openai.azure.com/openai/deployments/gpt-4o", "https://r.openai.azure.com/openai/deployments/gpt-4o"),
    (
        "https://e.example/v1beta1/projects/p_1/locations/eu~1/endpoints/x:predict@2",
        "https://e.example/v1beta1/projects/p_1/locations/eu~1/endpoints/x:predict@2",
    ),
    ("https://e.example/a..b/...", "https://e.example/a..b/..."),
];

#[test]
fn refused_forms_say_why() {
    let guard = guard(&[], &[]);
    let mut wrong = Vec::new();
    for (want, urls) in REFUSED {
        for url in *urls {
            match guard.parse(url) {
                Err(error) if kind(error) == *want => {}
                other => wrong.push(format!("{url:?}: want {want}, got {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let count: usize = REFUSED.iter().map(|(_, urls)| urls.len()).sum();
    assert!(count + ACCEPTED.len() >= 300, "{count} forms");
}

#[test]
fn accepted_forms_have_one_spelling() {
    let guard = guard(&[], &[]);
    for (text, want) in ACCEPTED {
        let url = guard.parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(url.to_string(), *want, "{text}");
        assert_eq!(guard.parse(want), Ok(url), "{text}: parsed again");
    }
}

#[test]
fn long_forms_stop_at_their_bounds() {
    let guard = guard(&[], &[]);
    let label = |bytes: usize| "a".repeat(bytes);
    let name_253 = format!("{}.{}.{}.{}", label(63), label(63), label(63), label(61));
    for (case, url, want) in [
        ("label of 63", format!("https://{}.example", label(63)), None),
        ("label of 64", format!("https://{}.example", label(64)), Some("name")),
        ("name of 253", format!("https://{name_253}"), None),
        ("name of 254", format!("https://{name_253}a"), Some("name")),
        ("url of 1024", format!("https://a/{}", label(1_014)), None),
        ("url of 1025", format!("https://a/{}", label(1_015)), Some("length")),
        ("url of a megabyte", "a".repeat(1 << 20), Some("length")),
    ] {
        assert_eq!(guard.parse(&url).err().map(kind), want, "{case}");
    }
}

#[test]
fn parts_serve_header_and_certificate() {
    let guard = guard(&[("10.1.0.0/16", "8000")], &[]);
    for (text, authority, name, port, path) in [
        ("https://API.example/v1", "api.example", "api.example", 443, "/v1"),
        ("https://api.example:8443", "api.example:8443", "api.example", 8443, ""),
        ("http://10.1.2.3:8000/v1/", "10.1.2.3:8000", "10.1.2.3", 8000, "/v1"),
        ("https://[2606:4700::1]", "[2606:4700::1]", "2606:4700::1", 443, ""),
        ("https://[2606:4700::1]:8000", "[2606:4700::1]:8000", "2606:4700::1", 8000, ""),
    ] {
        let url = guard.parse(text).unwrap();
        assert_eq!(
            (url.authority().as_str(), url.host_name().as_str(), url.port(), url.path()),
            (authority, name, port, path),
            "{text}"
        );
        assert_eq!(url.literal().is_none(), matches!(url.host(), Host::Name(_)), "{text}");
    }
    let parse = |text: &str| guard.parse(text).unwrap();
    let bound = parse("https://api.example/v1");
    assert!(bound.same_origin(&parse("https://API.example:443/v2")));
    assert!(!bound.same_origin(&parse("https://api.example:8443/v1")));
    assert!(!bound.same_origin(&parse("https://api.example.org/v1")));
}

#[test]
fn administrator_opens_exactly_what_is_listed() {
    let guard = guard(
        &[
            ("10.1.0.0/16", "8000-8010,443"),
            ("127.0.0.1", "11434"),
            ("fd00::/8", "any"),
            ("64:ff9b::/96", "443"),
            ("1.1.1.1", "9999"),
        ],
        &[],
    );
    for (scheme, address, want) in [
        (Scheme::Http, "10.1.2.3:8000", None),
        (Scheme::Https, "10.1.2.3:443", None),
        (Scheme::Http, "10.1.2.3:8011", Some("range")),
        (Scheme::Https, "10.2.0.1:8000", Some("range")),
        (Scheme::Http, "127.0.0.1:11434", None),
        (Scheme::Http, "127.0.0.2:11434", Some("range")),
        (Scheme::Https, "127.0.0.1:443", Some("range")),
        (Scheme::Http, "[fd00::1]:1", None),
        (Scheme::Http, "[fc00::1]:1", Some("range")),
        (Scheme::Https, "1.1.1.1:9999", None),
        (Scheme::Http, "1.1.1.1:9999", None),
        (Scheme::Http, "1.1.1.1:443", Some("plain")),
        (Scheme::Https, "1.1.1.2:9999", Some("port")),
        // An opened translator opens no private network behind it.
        (Scheme::Https, "[64:ff9b::808:808]:443", None),
        (Scheme::Https, "[64:ff9b::a00:1]:443", Some("range")),
        (Scheme::Https, "[64:ff9b::a01:1]:443", None),
        (Scheme::Https, "[64:ff9b::7f00:1]:443", Some("range")),
        (Scheme::Https, "[::ffff:10.1.2.3]:443", Some("range")),
        (Scheme::Https, "1.1.1.1:0", Some("port")),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let got = guard.permit(scheme, address).err().map(kind);
        assert_eq!(got, want, "{scheme:?} {address}");
    }
}

#[test]
fn embedded_addresses_are_judged_when_the_outer_range_is_open() {
    let guard = guard(&[("::/0", "any")], &[]);
    for (address, want) in [
        ("2606:4700::1", None),
        ("fd00::1", None),
        ("::1", None),
        ("::7f00:1", Some("range")),
        ("::ffff:127.0.0.1", Some("range")),
        ("::ffff:0:a9fe:a9fe", Some("range")),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::c0a8:1", Some("range")),
        ("64:ff9b:1::7f00:1", Some("range")),
        ("64:ff9b:1::808:808", None),
        ("64:ff9b:1:a9fe:a9:fe00::", Some("range")),
        ("64:ff9b:1:7f:0:1::", Some("range")),
        ("64:ff9b:1:0:a:0:100::", Some("range")),
        ("2002:a00:1::1", Some("range")),
        ("2002:808:808::1", None),
        ("2001:0:808:808::f5ff:fffe", Some("range")),
        ("2001:0:7f00:1::f7f7:f7f7", Some("range")),
        ("2001:0:808:808::f7f7:f7f7", None),
        ("fe80::5efe:a00:1", Some("range")),
        ("fe80::200:5efe:a00:1", Some("range")),
        ("fe80::5efe:808:808", None),
    ] {
        let ip: IpAddr = address.parse().unwrap();
        let got = guard.permit(Scheme::Https, SocketAddr::new(ip, 443));
        assert_eq!(got.err().map(kind), want, "{address}");
    }
}

#[test]
fn own_listeners_stay_closed_whatever_is_listed() {
    let all = [("0.0.0.0/0", "any"), ("::/0", "any")];
    for (own, address, want) in [
        ("127.0.0.1:9001", "127.0.0.1:9001", Some("own")),
        ("127.0.0.1:9001", "127.0.0.1:9000", None),
        ("127.0.0.1:9001", "127.0.0.2:9001", None),
        ("127.0.0.1:9001", "0.0.0.0:9001", Some("own")),
        ("127.0.0.1:9001", "[::]:9001", Some("own")),
        ("127.0.0.1:9001", "[::ffff:127.0.0.1]:9001", Some("own")),
        ("127.0.0.1:9001", "[64:ff9b::7f00:1]:9001", Some("own")),
        ("0.0.0.0:9000", "127.0.0.1:9000", Some("own")),
        ("0.0.0.0:9000", "127.8.8.8:9000", Some("own")),
        ("0.0.0.0:9000", "203.0.113.9:9000", Some("own")),
        ("0.0.0.0:9000", "203.0.113.10:9000", None),
        ("0.0.0.0:9000", "203.0.113.9:8000", None),
        ("0.0.0.0:9000", "[::1]:9000", Some("own")),
        ("[::]:9000", "203.0.113.9:9000", Some("own")),
        ("[::]:9000", "[2001:db8::9]:9000", Some("own")),
        ("[::]:9000", "[2001:db8::a]:9000", None),
        ("[::]:9000", "[2002:cb00:7109::1]:9000", Some("own")),
    ] {
        let guard = guard(&all, &[own]);
        let got = guard.permit(Scheme::Http, address.parse().unwrap());
        assert_eq!(got.err().map(kind), want, "own {own}, to {address}");
    }
}

#[test]
fn unreadable_interfaces_count_as_own() {
    let mut guard = guard(&[("0.0.0.0/0", "any")], &["0.0.0.0:9000"]);
    guard.local_addresses = || None;
    let got = guard.permit(Scheme::Http, "1.1.1.1:9000".parse().unwrap());
    assert_eq!(got.err().map(kind), Some("own"));
}

#[test]
fn interfaces_of_this_machine_are_seen() {
    let addresses = super::interface_addresses().unwrap();
    assert!(addresses.contains(&"127.0.0.1".parse().unwrap()), "{addresses:?}");
}

#[test]
fn one_bad_answer_refuses_all() {
    let guard = guard(&[], &[]);
    let url = guard.parse("https://api.example").unwrap();
    for (case, addresses, want) in [
        ("none", &[][..], Some("none")),
        ("good", &["1.1.1.1", "2606:4700::1"][..], None),
        ("last is private", &["1.1.1.1", "10.0.0.1"][..], Some("range")),
        ("first is private", &["fd00::1", "1.1.1.1"][..], Some("range")),
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(guard.permit_all(&url, &addresses).err().map(kind), want, "{case}");
    }
}

#[test]
fn listed_port_lets_a_name_pass_as_text_only() {
    let guard = guard(&[("10.1.0.0/16", "7000")], &[]);
    let url = guard.parse("http://model.internal:7000/v1").unwrap();
    let ip = |text: &str| [text.parse::<IpAddr>().unwrap()];
    assert_eq!(guard.permit_all(&url, &ip("10.1.0.1")), Ok(()));
    assert_eq!(guard.permit_all(&url, &ip("10.2.0.1")).err().map(kind), Some("range"));
    assert_eq!(guard.permit_all(&url, &ip("1.1.1.1")).err().map(kind), Some("plain"));
    let other = guard.parse("http://model.internal:7001/v1");
    assert_eq!(other.err().map(kind), Some("plain"));
}

#[test]
fn blocks_and_ports_are_written_strictly() {
    for (text, good) in [
        ("10.0.0.0/8", true),
        ("10.0.0.1", true),
        ("0.0.0.0/0", true),
        ("::/0", true),
        ("fd00::/8", true),
        ("2001:db8::1/128", true),
        ("10.0.0.1/8", false),
        ("10.0.0.0/33", false),
        ("10.0.0.0/", false),
        ("10.0.0.0/+8", false),
        ("10.0.0.0/8/8", false),
        ("10.0.0/8", false),
        ("010.0.0.0/8", false),
        ("fd00::1/8", false),
        ("FD00::/8", false),
        ("fd00::/129", false),
        ("fd00::/1000", false),
        ("localhost", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<super::Cidr>().is_ok(), good, "{text:?}");
    }
    for (text, good) in [
        ("any", true),
        ("443", true),
        ("443,8000-8999", true),
        ("443, 80", true),
        ("1-65535", true),
        ("0", false),
        ("0-10", false),
        ("65536", false),
        ("9-8", false),
        ("", false),
        ("443,", false),
        ("+443", false),
        ("a-b", false),
        ("1-2-3", false),
    ] {
        assert_eq!(text.parse::<Ports>().is_ok(), good, "{text:?}");
    }
    assert!(!Ports::any().contains(0));
    assert!(Ports::one(7).contains(7));
}

#[test]
fn refusals_repeat_no_secret() {
    let guard = guard(&[], &[]);
    for url in [
        "https://user:canary@api.example",
        "https://api.example/canary?x",
        "https://api.example/canary/..",
        "canary://api.example",
        "https://api.example:canary",
    ] {
        let error = guard.parse(url).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{url}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{url}: {error:?}");
    }
}
