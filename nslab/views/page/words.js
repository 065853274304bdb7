const WORDS = {
  en: {
    other: "한국어", theme: "Light or dark", skip: "Skip the picture", picture: "Picture", details: "Details",
    journey: "Journey of a packet", which: "Of those possible:", first: "First", back: "Back", forward: "Forward",
    last: "Last", keys: "Keys: ← and → step, Home and End go to the ends.",
    choose: "Choose a host, an interface or a Service in the picture.",
    findings: "Differs from the desired state", fine: "It is as it should be",
    position: (now, all) => `${now} of ${all}`, reply: "The reply", request: "The packet", relay: "kube-proxy's own connection",
    before: "before", after: "after", outer: "outer header", inner: "packet", cause: "Why", rules: "Rules that matched", accepted: "Rules that accepted it",
    by: (who) => `by ${who}`, chance: (share) => `chance ${Math.round(share * 100)} %`,
    source: "source", target: "target", protocol: "protocol", ttl: "TTL", length: "length", mark: "mark", mtu: "MTU",
    bytes: (number) => `${number} bytes`, show: "Command that shows it",
    interfaces: "Interfaces", addresses: "Addresses", neighbours: "ARP entries", routes: "Routes",
    iptables: "Rules (iptables)", ipset: "Sets (ipset)", ipvs: "Virtual servers (IPVS)", nft: "Rules (nftables)",
    settings: "Settings (sysctl)", processes: "Processes", plugins: "CNI plugins", service: "Endpoints",
    inside: "Its host", far: "Other end", bridge: "Port of bridge", more: "Look inside",
    roles: { node: "node", pod: "pod", client: "client outside the cluster", router: "router", switch: "switch",
      service: "Service" },
    actions: {},
    ends: { delivered: "delivered, and answered", refused: "refused", unreachable: "unreachable", rejected: "rejected",
      dropped: "dropped", lost: "timed out", left: "out of sight", unknown: "not known" },
  },
  ko: {
    other: "English", theme: "밝게 또는 어둡게", skip: "그림 건너뛰기", picture: "그림", details: "자세히",
    journey: "패킷의 여정", which: "가능한 여정:", first: "처음", back: "이전", forward: "다음",
    last: "끝", keys: "키: ←와 →는 한 단계씩, Home과 End는 처음과 끝으로 갑니다.",
    choose: "그림에서 호스트, 인터페이스 또는 Service를 고르세요.",
    findings: "바라는 상태와 다른 점", fine: "바라는 상태와 같습니다",
    position: (now, all) => `${all}단계 중 ${now}`, reply: "응답", request: "패킷", relay: "kube-proxy 자신의 연결",
    before: "전", after: "후", outer: "바깥 헤더", inner: "패킷", cause: "이유", rules: "일치한 규칙", accepted: "허용한 규칙",
    by: (who) => `작성: ${who}`, chance: (share) => `확률 ${Math.round(share * 100)} %`,
    source: "출발지", target: "목적지", protocol: "프로토콜", ttl: "TTL", length: "길이", mark: "마크", mtu: "MTU",
    bytes: (number) => `${number}바이트`, show: "확인하는 명령",
    interfaces: "인터페이스", addresses: "주소", neighbours: "ARP 항목", routes: "경로",
    iptables: "규칙(iptables)", ipset: "집합(ipset)", ipvs: "가상 서버(IPVS)", nft: "규칙(nftables)",
    settings: "설정(sysctl)", processes: "프로세스", plugins: "CNI 플러그인", service: "엔드포인트",
    inside: "호스트", far: "반대쪽 끝", bridge: "연결된 브리지", more: "안에서 보기",
    roles: { node: "노드", pod: "파드", client: "클러스터 밖의 클라이언트", router: "라우터", switch: "스위치",
      service: "Service" },
    actions: { send: "보냄", bridge: "브리지", DNAT: "DNAT", SNAT: "SNAT", "reverse DNAT": "역방향 DNAT",
      "reverse SNAT": "역방향 SNAT", forward: "포워딩", encapsulate: "캡슐화", decapsulate: "캡슐 해제",
      receive: "받음", "come in": "들어옴", drop: "버림", reject: "거부", lost: "사라짐" },
    ends: { delivered: "전달되고 응답을 받음", refused: "거절됨", unreachable: "도달할 수 없음", rejected: "거부됨",
      dropped: "버려짐", lost: "응답 없음", left: "보이지 않는 곳으로 나감", unknown: "알 수 없음" },
  },
};

// Why a host did something, in Korean. Names of rules and what a program prints stay as they are.
const KOREAN_CAUSES = [
  [/^conntrack; no rule does this$/, "conntrack이 한 일이며, 규칙은 없습니다"],
  [/^a blackhole route drops it$/, "blackhole 경로가 버립니다"],
  [/^its rp_filter drops it: no route leads back to where it came in$/, "rp_filter가 버립니다: 들어온 곳으로 되돌아가는 경로가 없습니다"],
  [/^it has no route there$/, "그곳으로 가는 경로가 없습니다"],
  [/^it does not forward \(ip_forward is 0\)$/, "포워딩하지 않습니다(ip_forward가 0)"],
  [/^it does not forward what comes in there \(the interface's forwarding is 0\)$/, "그곳으로 들어온 것은 포워딩하지 않습니다(인터페이스의 forwarding이 0)"],
  [/^nobody answers its ARP requests for (\S+) on (\S+)$/, "$2에서 $1의 ARP 요청에 아무도 답하지 않습니다"],
  [/^a route of its says unreachable$/, "경로가 unreachable입니다"],
  [/^a route of its says prohibit$/, "경로가 prohibit입니다"],
  [/^its (\d+) bytes are more than the MTU of (\S+), (\d+)$/, "$1바이트는 $2의 MTU $3보다 큽니다"],
  [/^its TTL is over$/, "TTL이 다했습니다"],
  [/^policy DROP of chain (\S+) \(table (.+)\)$/, "체인 $1의 정책 DROP(테이블 $2)"],
  [/^no program takes it from the queue of (.+)$/, "큐에서 꺼내는 프로그램이 없습니다: $1"],
  [/^no rule that the kernel traces drops it; route (.+)$/, "커널이 추적하는 규칙 가운데 버리는 것은 없습니다. 경로: $1"],
  [/^route (.+); after DNAT (.+)$/, "경로: $1, DNAT 뒤의 경로: $2"],
  [/^route (.+)$/, "경로: $1"],
  [/^(\S+) to (\S+)$/, "$1 → $2"],
  [/^(\S+) is at (\S+)$/, "$1의 MAC 주소: $2"],
  [/^(.+) answered its ARP request for (\S+)$/, "$2의 ARP 요청에 답한 곳: $1"],
  [/^(\S+) does not pass it on: (.+)$/, "$1에서 더 나아가지 못합니다. $2"],
  [/^(\S+) does not pass the reply on: (.+)$/, "응답이 $1에서 더 나아가지 못합니다. $2"],
  [/^(\S+) drops it by (.+)$/, "$1에서 버립니다: $2"],
  [/^(\S+) drops the reply by (.+)$/, "$1에서 응답을 버립니다: $2"],
  [/^(\S+) rejects it by (.+)$/, "$1에서 거부합니다: $2"],
  [/^(\S+) rejects the reply by (.+)$/, "$1에서 응답을 거부합니다: $2"],
  [/^(\S+) sends nothing$/, "$1에서 아무것도 보내지 않습니다"],
  [/^(\S+) sends nothing: (.+)$/, "$1에서 아무것도 보내지 않습니다. $2"],
  [/^(\S+) refuses it \((.+)\): it has the address, and nothing listens there on port (\d+)$/, "$1에서 거절합니다($2). 주소는 맞지만 포트 $3을 듣는 프로그램이 없습니다"],
  [/^(\S+) refuses it \((.+)\)$/, "$1에서 거절합니다($2)"],
  [/^(\S+) answers with an ICMP error: (.+)$/, "$1에서 ICMP 오류로 답합니다: $2"],
  [/^it comes in at (.+), and (\S+) does not answer$/, "$1에 들어왔지만 $2에서 답하지 않습니다"],
  [/^it comes in at (.+), and (\S+) does not answer: (.+)$/, "$1에 들어왔지만 $2에서 답하지 않습니다. $3"],
  [/^last seen leaving (.+), and nowhere after that$/, "$1에서 나간 뒤로는 보이지 않습니다"],
  [/^last seen leaving (.+), and nowhere after that: (.+)$/, "$1에서 나간 뒤로는 보이지 않습니다. $2"],
  [/^last seen coming in at (.+), never leaving (\S+)$/, "$1에 들어온 뒤 $2에서 나가지 않습니다"],
  [/^last seen coming in at (.+), never leaving ([^:\s]+): (.+)$/, "$1에 들어온 뒤 $2에서 나가지 않습니다. $3"],
  [/^the answer was (last seen .+)$/, "응답: $1"],
];

const asked = new URLSearchParams(location.search).get("lang") || navigator.language || "en";
let language = asked.startsWith("ko") ? "ko" : "en";
const word = (name) => WORDS[language][name];
// A part of a sentence may be a cause of its own.
const inWords = (cause) => {
  const [pattern, text] = (language === "ko" && KOREAN_CAUSES.find(([one]) => one.test(cause))) || [];
  if (!pattern) return cause;
  const parts = pattern.exec(cause);
  return text.replace(/\$(\d)/g, (_, number) => inWords(parts[number]));
};
const action = (name) => word("actions")[name] || name;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
  return made;
}

const byId = (id) => document.getElementById(id);
const command = (text) => element("code", { class: "command" }, text);
