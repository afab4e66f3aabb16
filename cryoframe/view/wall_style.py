"""Style and script of the page of a session: read from across a room, light or dark as the screen is. Text only."""

from __future__ import annotations

#: Colours of a state are of different lightness too, and its word stands beside: nobody has to tell red from green.
STYLE = """
:root{color-scheme:light dark;--paper:#f4f5f7;--card:#fff;--ink:#16181d;--soft:#5a616e;--line:#d9dde3;--code:#eceff3;
--bad:#b3261e;--warn:#8a5200}
@media(prefers-color-scheme:dark){:root{--paper:#0f1115;--card:#191c22;--ink:#e8eaee;--soft:#9aa2b1;--line:#2c313a;
--code:#252a33;--bad:#ff8a80;--warn:#ffc46b}}
body{max-width:none;margin:0;padding:0 0 2em;background:var(--paper);color:var(--ink)}
main{padding:0 1.6vw}h2{font-size:1.15rem;border:0;margin:1.4em 0 .5em;color:var(--ink)}
a{color:inherit}td,th{border-color:var(--line)}.note{color:var(--soft)}
code{background:var(--code);border-radius:4px;padding:.1em .4em;font-size:.92em;overflow-wrap:anywhere}
header{color:#fff;padding:1.6vh 1.6vw;display:flex;flex-wrap:wrap;gap:.6vw 2.4vw;align-items:center;background:#3d4653}
header .word{font-size:clamp(2.6rem,8.4vw,13vh);font-weight:800;line-height:1;letter-spacing:-.02em;
text-transform:uppercase;white-space:nowrap}
header .sign{display:inline-block;width:1em;text-align:center;margin-right:.12em}
header .why{flex:1 1 24rem;font-size:clamp(1rem,1.75vw,2.2rem);line-height:1.25;overflow-wrap:anywhere}
header h1{font-size:1.1em;margin:0}header .as-of{opacity:.85;font-size:.68em;display:block}
header.working{background:#0b6b3a}header.waiting{background:#1f5f8b}header.paused{background:#b45f00}
header.alarm,header.nobody,header.stale{background:#b3261e}header.ended{background:#3d4653}
header.alarm .sign{animation:blink 1.6s steps(2) infinite}@keyframes blink{50%{opacity:.15}}
@media(prefers-reduced-motion:reduce){header.alarm .sign{animation:none}}
.stands{margin:1.2vh 0 0;padding:0;list-style:none}
.stands li{background:var(--card);border-left:.55rem solid var(--warn);padding:.55em .9em;margin:.45em 0;
font-size:clamp(1rem,1.35vw,1.7rem);line-height:1.3;overflow-wrap:anywhere}
.stands li.alarm{border-color:var(--bad)}.stands b{margin-right:.5em}.stands .since{color:var(--soft);font-size:.8em}
.stands li.alarm b{color:var(--bad)}.stands li.pause b{color:var(--warn)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,9.5rem),1fr));gap:.8vw;margin:1.6vh 0 0}
.tiles div{background:var(--card);border-radius:8px;padding:.7em .9em;min-width:0}
.tiles .big{display:block;font-size:clamp(1.7rem,3.2vw,4.6rem);font-weight:700;line-height:1.05;
font-variant-numeric:tabular-nums;white-space:nowrap}.tiles .what{color:var(--soft);font-size:clamp(.85rem,1vw,1.2rem)}
.tiles .bad .big{color:var(--bad)}
.newest{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,34rem),1fr));gap:0 1.6vw}
.strip{display:grid;grid-template-columns:repeat(4,1fr);gap:.5vw}
.strip figure{margin:0;background:var(--card);border-radius:8px;overflow:hidden;display:block;min-width:0}
.strip img{width:100%;aspect-ratio:1;object-fit:cover;display:block}
.strip figcaption{padding:.35em .5em .45em;color:var(--ink);font-size:clamp(.85rem,.95vw,1.2rem);line-height:1.3}
.strip small{color:var(--soft);display:block;font-size:.8em;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;
direction:rtl;text-align:left}
.classes{display:flex;flex-wrap:wrap;gap:.4vw}.classes img{width:clamp(3.6rem,6vw,8rem);display:block;height:auto}
.classes figure{margin:0;background:var(--card);border-radius:6px;overflow:hidden;text-align:center}
.classes figcaption{font-size:.8rem;padding:.15em;color:var(--soft)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:.8vw;margin-top:1.2em}
.facts>div{background:var(--card);border-radius:8px;padding:.2em 1em 1em;min-width:0}
.facts table{display:table;width:100%}.facts th{font-weight:400;color:var(--soft);white-space:nowrap;
vertical-align:top;padding-left:0}.facts td{overflow-wrap:anywhere}
.aside td{vertical-align:top;overflow-wrap:anywhere}.aside td:first-child{min-width:11em}
.aside tbody tr:last-child td{border-bottom:0}.aside th,.aside td{padding-left:0}
table.exposures th{background:var(--card)}table.exposures{background:var(--card)}
@media(max-width:640px){.strip{grid-template-columns:repeat(2,1fr);gap:2vw}
.tiles{grid-template-columns:repeat(2,1fr);gap:2vw}.tiles div{padding:.5em .7em}
.aside thead{display:none}.aside tr{display:block;
padding:.5em 0;border-bottom:1px solid var(--line)}.aside td{display:block;border:0;padding:.1em 0}}
"""
#: How long ago something was is of the moment of reading; a page that nobody writes any more says so by itself.
SCRIPT = """
(function(){var h=document.querySelector('header'),made=Date.parse(h.dataset.made),most=+h.dataset.most*1000;
function ago(ms){var s=Math.max(0,Math.round(ms/1000));if(s<100)return s+' s';var m=Math.round(s/60);
if(m<100)return m+' min';var d=Math.round(m/60);return d<49?d+' h':Math.round(d/24)+' d'}
function tell(){var now=Date.now(),old=now-made;
document.querySelectorAll('[data-at]').forEach(function(e){var t=Date.parse(e.dataset.at);
if(!isNaN(t))e.textContent=ago(now-t)+(e.dataset.ago===undefined?'':' ago')});
if(most&&old>most){h.className='stale';h.querySelector('.sign').textContent='?';
h.querySelector('.words').textContent='no news';
h.querySelector('.said').textContent='This page was last written '+ago(old)+
' ago: nobody writes it any more, or the clock of this screen is wrong. Ask `cryoframe status`.'}}
tell();setInterval(tell,1000)})();
"""
