# Find the start events in the lines of a log collector, for `robodj-secretguard fleet --events -`:
#
#   journalctl ... | jq --null-input --raw-input --compact-output -L DIRECTORY 'include "events"; journald'
#
# The collector's labels replace the names in an event. Fields that are not the event's are left out. A line that may be
# an event, and cannot be read or has a part of its labels only, becomes {"secret_event":"unreadable"}: nothing is proven
# then, unless it still has its time, and that is old. Other lines are left out.

# The input is a line of the collector. It keeps its time only where its text begins with an event and has no other one:
# that one may have been written at another time.
def unreadable: {secret_event: "unreadable"} + (capture(
  "^(?:(?!secret_event).)*(?:^| |: ?\")\\{\\\\?\"secret_event\\\\?\": ?\\\\?\"[a-z]*\\\\?\", ?\\\\?\"reported_at\\\\?\":"
  + " ?\\\\?\"(?<reported_at>[0-9T:-]{19}Z)(?!.*secret_event)"
) // {});

def fields: {secret_event, reported_at, service, instance, environment, process, number, state, state_since, checks,
             heartbeat_seconds, started_at, version, model, secrets, off, event};

def object: (try fromjson catch null | objects) // {};

# The input of `piece` is a line of the collector. Its output has the collector's labels, the text that the program wrote,
# its stream, and whether the next piece of this stream has the rest of the text.
def events(piece):
  foreach (inputs | . as $line | (try piece catch {stream: "", is_cut: false}) + {$line}) as $piece (
    {is_open: {}};
    .is_rest = .is_open[$piece.stream] | .is_open[$piece.stream] = $piece.is_cut;
    if ($piece.text | type) != "string" then $piece.line | unreadable
    elif ($piece.text | contains("\"secret_event") | not) then empty
    elif $piece.is_cut or .is_rest or ($piece.labels | any(type != "string")) then $piece.line | unreadable
    else ($piece.text | object) as $event
      | if $event.secret_event | IN(null, "unreadable") then $piece.line | unreadable
        else ($event | fields) + $piece.labels
        end
    end
  );

# One event on each line, which keeps its own names: an events file, or a structlog pipeline that writes JSON.
def lines: events({text: ., labels: {}, stream: "", is_cut: false});

# journalctl --output=json --all: the unit, and the host.
def journald: events(object | {
  text: (.MESSAGE | if type == "array" and all(type == "number") then implode else . end),
  labels: {service: (._SYSTEMD_UNIT | rtrimstr(".service")), instance: ._HOSTNAME},
  stream: (._STREAM_ID // ""),
  is_cut: (._LINE_BREAK == "line-max")
});

# rsyslog, with the template of docs/logs.md: the tag of the input, and the host that sent the line.
def rsyslog: events(object | {
  text: .message, labels: {service, instance: .host}, stream: "", is_cut: false
});

# Files of Docker's json-file driver, with its options `tag` and `labels`: the compose service, and HOST/TAG.
def docker($host): events(object | {
  text: .log,
  labels: {service: .attrs["com.docker.compose.service"], instance: ((.attrs.tag | strings | "\($host)/\(.)") // null)},
  stream: "\(.attrs.tag) \(.stream)",
  is_cut: (.log | endswith("\n") | not)
});

# kubectl logs --prefix: the namespace, the container and the pod.
def kubectl($namespace): events(
  capture("^\\[pod/(?<pod>[^/]+)/(?<container>[^\\]]+)\\] (?<text>.*)$") // {}
  | {text, labels: {$namespace, service: .container, instance: .pod}, stream: "", is_cut: false}
);

# Files of containerd in /var/log/pods, with ./NAMESPACE_POD_UID/CONTAINER/FILE: before each line.
def containerd: events(
  capture("^(?<file>\\./(?<namespace>[^_/]+)_(?<pod>[^_/]+)_[^/]+/(?<container>[^/]+)/[^/:]+):"
          + "[^ ]+ (?<stream>stdout|stderr) (?<tag>[PF]) (?<text>.*)$") // {}
  | {
    text,
    labels: {namespace, service: .container, instance: .pod},
    stream: "\(.file) \(.stream)",
    is_cut: (.tag == "P")
  }
);
