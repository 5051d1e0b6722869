#!/bin/sh
# Write the metric of refused starts for node_exporter's textfile collector, from start events on stdin. Each minute:
#
#   cat /var/log/robodj/events.jsonl.1 /var/log/robodj/events.jsonl 2>/dev/null |
#       sh refused_starts.sh /var/lib/robodj/refused.jsonl "$TEXTFILES/robodj_starts.prom"
#
# The first file keeps the refused starts, so an alert stays until a start of that instance passes, also after the events
# were rotated away. To forget an instance that never starts again, delete its line there.
set -eu
kept=$1 metrics=$2
touch "$kept"
cat "$kept" - | jq --null-input --raw-input --compact-output '
  def clean: gsub("[^A-Za-z0-9_.:@/, -]"; "?");
  # A start has its process id at the end of an instance without a name of its own.
  def pid: .process | strings | ":" + split(".")[0];
  reduce (inputs | try fromjson catch null | objects | select(.secret_event | IN("started", "refused"))) as $event ({};
    ($event | {
      secret_event,
      service: ([.namespace, .service] | map(strings) | join("/") | clean),
      instance: (((.instance | strings) // "") | rtrimstr(($event | pid) // "") | clean),
      checks: ([.checks | .. | strings] | join(", ") | clean)
    }) as $start | .["\($start.instance) \($start.service)"] = $start
  ) | .[]' >"$kept.all"
jq --null-input --raw-output '
  "# HELP robodj_secret_start_refused Whether the last start of an instance was refused: 1 for yes, 0 for no.",
  "# TYPE robodj_secret_start_refused gauge",
  (inputs | "robodj_secret_start_refused{service=\"\(.service)\",instance=\"\(.instance)\",checks=\"\(.checks)\"} "
    + if .secret_event == "refused" then "1" else "0" end)' "$kept.all" >"$metrics.tmp"
jq --compact-output 'select(.secret_event == "refused")' "$kept.all" >"$kept.tmp"
mv "$metrics.tmp" "$metrics"
mv "$kept.tmp" "$kept"
rm "$kept.all"
