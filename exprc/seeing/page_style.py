"""The style sheet of the page of explain(), for light and dark."""

from __future__ import annotations

from exprc.seeing.svg import style

_PAGE = """
:root{--paper:#fff;--card:#f8fafc;--ink:#0f172a;--faint:#526076;--line:#d7dee8;--bar:#2563eb;--link:#1d4ed8;
  --key:#7c3aed;--cmt:#4d7c4a;--pre:#b45309;--alpha:.55}
@media (prefers-color-scheme:dark){:root{--paper:#0b1120;--card:#111827;--ink:#e5e7eb;--faint:#9fb0c6;
  --line:#2a3546;--bar:#60a5fa;--link:#93c5fd;--key:#c4b5fd;--cmt:#86c98a;--pre:#fbbf24;--alpha:.75}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
header{padding:20px 28px 0;border-bottom:1px solid var(--line)}
header p{margin:2px 0;color:var(--faint)}
header b{color:var(--ink)}
h1{margin:0 0 6px;font-size:26px}
h2{margin:0 0 10px;font-size:20px}
h3{margin:18px 0 6px;font-size:15px}
h4{margin:0 0 4px;font-size:12px;color:var(--faint)}
nav{display:flex;flex-wrap:wrap;gap:18px;padding:12px 0}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
main{padding:0 28px 60px;max-width:1600px}
section{padding-top:26px}
.note{color:var(--faint);margin:0 0 10px}
.wide{overflow:auto;max-width:100%}
details .wide{max-height:85vh}
table{border-collapse:collapse}
td{padding:3px 14px 3px 0;vertical-align:top}
td.n,span.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.sum td{border-top:1px solid var(--line);font-weight:600}
.road td{border-bottom:1px solid var(--line)}
svg.bar{display:block;width:140px;height:10px;margin-top:6px;background:var(--line);border-radius:3px}
svg.bar rect{fill:var(--bar)}
.lines td.src,code,pre{font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.lines td.src{white-space:pre-wrap;overflow-wrap:anywhere;min-width:300px;max-width:800px}
.lines td{border-bottom:1px solid var(--line)}
.lines td:first-child{color:var(--faint)}
.road td:last-child{overflow-wrap:anywhere}
.links{min-width:110px}
.links a{margin-right:4px}
details,.same{border:1px solid var(--line);border-radius:8px;margin:0 0 8px;background:var(--card)}
summary,.same{cursor:pointer;padding:8px 12px}
.same{cursor:default}
summary span,.same span{color:var(--faint)}
details[open]>summary{border-bottom:1px solid var(--line)}
details>pre,details>.wide{margin:0;padding:12px}
.head{display:grid;grid-template-columns:70px minmax(220px,1fr) 140px 80px 56px 170px;gap:12px;align-items:baseline}
.step summary{list-style:none}
.step summary::-webkit-details-marker{display:none}
.head>span:nth-child(2){color:var(--ink)}
.rate{white-space:nowrap}
.step summary b::before{content:"▸ ";color:var(--faint)}
.step[open] summary b::before{content:"▾ "}
.from{display:grid;grid-template-columns:max-content 1fr;gap:0 14px;margin:4px 0 0 82px;font-size:13px}
.from code{color:var(--faint);overflow-wrap:anywhere}
.from .where{color:var(--faint);font:12.5px/1.45 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.cols{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:14px;padding:12px}
.cols>div{min-width:0}
pre{margin:0;overflow:auto;max-height:70vh;white-space:pre}
.cols pre,details>pre{background:var(--paper);border-radius:6px;padding:8px 10px}
.c b{color:var(--key);font-weight:500}
.c i{color:var(--cmt)}
.c u{color:var(--pre);text-decoration:none}
.arena{display:block;width:100%;min-width:760px;max-width:1300px}
.arena text{font:10px system-ui,sans-serif;text-anchor:middle;fill:var(--ink)}
.arena text.y{text-anchor:end;fill:var(--faint)}
.arena .axis{fill:none;stroke:var(--faint)}
.arena .grid{stroke:var(--line);fill:none}
.arena rect{fill-opacity:var(--alpha)}
.m0 rect{fill:#60a5fa}
.m1 rect{fill:#f59e0b}
.m2 rect{fill:#34d399}
.m3 rect{fill:#f472b6}
.m4 rect{fill:#a78bfa}
.m5 rect{fill:#94a3b8}
.arena g:hover rect{fill-opacity:1}
:target{outline:2px solid var(--bar)}
@media (max-width:900px){.head{grid-template-columns:60px 1fr}
  svg.bar{width:70px}.lines td.src{min-width:180px}.from{margin-left:0}main,header{padding-left:14px;
  padding-right:14px}}
"""

STYLE = "".join(line.lstrip() for line in _PAGE.splitlines()) + style()
