"""Placeholders of templates and tutorials: phrases, words, and digests of well-known defaults.

Expected false alarms in a million keys, by rule of `placeholder` and `weak` (test_false_alarms.py computes them):

| rule | `token_urlsafe(16)` | `token_hex(16)` | `token_urlsafe(32)` | `token_urlsafe(64)` | `token_hex(64)` |
|---|---|---|---|---|---|
| phrases | 0.009 | 0 | 0.02 | 0.044 | 0 |
| words | 0.0003 | 0 | 0.006 | 0.0000002 | 0 |
| encoded text | 0.14 | 0.14 | 0.00006 | 0.000000001 | 0.000000001 |
| defaults | 0.00000000001 | 0.00000000001 | 0.00000000001 | 0.00000000001 | 0.00000000001 |
| distinct characters | 0.0024 | 0.0002 | 0.00000006 | 0.000000001 | 0.000000001 |
| one case | 0.056 | 0 | 0.0004 | 0.000000001 | 0 |
| runs | 0.00025 | 0.00015 | 0.00000000001 | 0.00000000001 | 0.00000000001 |
"""

from typing import Final

MIN_WORD: Final = 4
MAX_WORD: Final = 17
"""How many characters a listed word has."""

PHRASES: Final = tuple(
    """
    changebefore changeit changeme changethis donotshare donotuse dontuse enteryour example forlocal fortesting
    generateme generatewith insecure inserthere insertyour keygoeshere localdev mysecret notasecret notsecure
    pastehere pastekey pasteyour placeholder pleasechange pleasereplace replaceme replacethis replacewith secretgoes
    secretkey supersecret testonly tokenhex tokenurlsafe undefined xxxxxxxx yourjwt yourkey yourpass yoursecret
    yourtoken
    """.split()
)
"""A value that contains one of them is a placeholder. Case and separators are ignored."""

WHOLE_VALUES: Final = frozenset(
    """
    12345678 123456789 1234567890 admin adminadmin changeit default dummy guest hackme letmein minioadmin nil none null
    password password1 password123 postgres qwerty root secret tbd test todo
    """.split()
)
"""A value that is exactly one of them is a placeholder. No other rule finds the usual passwords of a vendor."""

WORDS: Final = frozenset(
    """
    able about acak access account actual adipiscing admin aendern after again aici aleatoire aleatoria aleatorio
    algorithm almeno alphanumeric already alter alterar altere always amend amet anahtar anahtari anata anda andern
    another antes antesde anything apache apikey aplicatiei aplikacji application aqui asdf assignment auth
    authentication authorization avain avant avantdemettre avec backend banking baomat bara bardzo base baseball basic
    bearer before being beispiel belong below benim best between bezpieczny bimat bimil bimilbeonho bimilkeyreul bits
    bitte blog booking boot bootcamp brown build buraya buyao byte bytes bytut cambia cambiala cambiame cambiami
    cambiar cambiare cambiarla cambie canli caracteres caratteri cargar casuale cette chaine chance change changed
    changer changez changing char character characters charles chars chat chave cheie chiave chuoi ciag cipher clave
    claves clef clesecrete client clinic cluster code college colocar coloque como company complex complexe compliance
    compose confidential confidentiel config configuration consectetur container contrasena contrasenia cookie
    corporate correct count course create created cryptographic cryptographically csereld cuaban cuatoi custom cypher
    daemon dashboard data database dayla decrypt default define degeri degistir degistirin dein deine demo dengan
    deploy deployed deploying deployment desarrollo desenvolvimento detta develop developer development developpement
    devices dian dichoduan dickens diese dieser different difficile difficult digest digital django dlinny dlugi
    docker docs dolor done dont dopo dragon driftsattning dummy durch ecommerce edit edoto egen eigen eigenen eigener
    eigenes eine einer einfuegen eintragen ejemplo elit empty encode encoded encoding encrypt encrypted encryption
    ending ennen enough enter enterprise entorno entropy entwicklung environment ersetze ersetzen esempio esta este
    every everything exemple expected expires express extra extremely fake fallback file fill final finally finance
    first flask follow football fore forgot fort forta forte from frontend fuerte fully gaat ganti gantilah gateway
    geaendert geheim geheime geheimer geheimes geheimnis geheimnisvoll generar generate generated generating
    generation generator gengai geslo github given gizli goes golang good grafana guards guclu guess guvenli guvenlik
    hack hackathon hardcoded harus hash haslo have health healthcare hello hemlig hemlighet hemligt hemmelig henkou
    here heslo hexadecimal hidden hier high himitsu himitsunokagi hmac homework horse hospital hosszu host hotel http
    https ideally iets ihre ihren immediately important inainte initial insecure inserire inserisci insert insira
    instance instead integration interview into inventory invullen ipryeok ipsum isikan issuer izmeni izmenite java
    javascript jelszo jeton jibun joshua json julkaisua jumps just kagi kankyou karakter keep kesinlikle keycloak keys
    khoa khoabimat khongduoc kleidi klic kluch klucz klyuch koko kubernetes kulcs kullanmayin kullanmayiniz kunci
    laita lange langes lansarea laravel larga large largo lazy least length lengthy lesson letters level library ligne
    like live livegang llave local localhost login lokal long longer longue lorem losenord losowa losowe losowy
    lozinka lunga lutfen make management manager manh market marketplace masked master masukkan matkhau maubimat
    maximum meantime medical mein meine menos message mets metti mettre microservice middleware mima mimi mindestens
    minha minimal minimo minimum minio minuscule mise missing mistiko miyao mock modify module moeilijk molto mongo
    mongodb monkey more most motdepasse movie movies much mude muito music must mustang mysql naar nagyon nahrad name
    nasazenim need needs nest nestjs never next nextauth ngau ngaunhien nhap nicht nide node noegle nokkel nonprod
    note nothing nube nuestra number numbers nyckel oauth obtain ochen official olmali only open openssl options order
    orders organisation organization ortamda other otherwise over override panjang para parol parola parool pass
    passphrase passport password passwort paste payload payment payments pered personal phoenix phrase placeholder
    placer platform playground please policy pomenyai pomenyat ponaqui poner portal postgres pour pred preencha
    preencher prefer prilozheniya prima prisma private probably prod producao produccion product productie production
    produkcja produkcji produktion produzione program project projeto promeni properly propia propre proprio protected
    provide provided proxy proyecto prueba przed public pune purpose purposes puternica python qing qingxiugai quick
    quite rabbitmq rahasia rahasiakan rails raktas rand random randomly rastgele ratmanh react real really recipe
    recipes recommended redacted redis reemplaza reemplazar refresh release rellenar remember remove remplacer
    remplacez remplir renseigner repeat replace replaced request required requires reset right rotate running rust
    safe safely sajat salainen salaisuus salasana salt same sample sanctum sandbox sandi sangat satt satunnainen
    schema schimba schluessel schlussel school secret secreta secretas secrete secretissime secretkey secreto secrets
    secure secured securely security seed segredo segreta segreto segura seguridad seguro sehr sehrgeheim sekret
    sekretnaya sekretniy sekretny sekretnyi sekretnyj sekretnyklyuch senha separate server serveur service sesion
    session setting settings setup seusua shadow shared shengchan shop should showcase shuru sicher sicherer sicheres
    sicura sicuro siempre sifre sifreleme sign signature signed signing silna silny simple sistema site size skrivnost
    slapukas sleutel slumpmassig smenite smoke social some something sostituire sostituisci special spring sqlite
    stage staging staple stark starke startup state sterk sterke storage store strict string stroka strong stronger
    student students subir suficientemente suiji super supersecret superset supply sure survive svoy svuj swoj symfony
    symmetric system tajemnica tajna tajne tajny tajnyklic task tasks team temp template temporary tener test teste
    tester testing tests text than that thay thaydoi their them then there these thesis thing this tianxie tiene
    tihuan tijiao time times titkos titkoskulcs todo token tokens topsecret tracker travel tree tres troque tuachiave
    tuclave tuotantoon tupropia tutaj tutorial typescript ubah under unique unit university unknown unsafe until untuk
    update uretim uruchomieniem usar used user username using utilizar utveckling uzun vahva vaihda vale valid
    validation value values variable variables verander veranderen verification verify vervang very vlozte voorbeeld
    voordat vostra votre vstavte vulhier wachtwoord want webhook website werden wert what when where which wijzig wiki
    will willekeurig willekeurige willekeurigs with without wlasna wlasne wlasnego wlasny word wordpress words
    workshop world worst wort would write wstaw xiugai year yeogie your yours yourself zameni zamenite zapuskom
    zeichen zheli zifu zmente zmien znaki znakow znaku zufaellig zufall zufallig
    """.split()
)
"""Words of four letters or more that templates use, in several languages. None is hexadecimal throughout."""

DEFAULTS: Final = frozenset(
    """
    015113affdc4d601 03484277781ce857 0393c022b5bc493c 045455d22d70734b 0ddd68ed20f8a394 0e8cef8f7e3f79f1
    0f8c2c946a21370c 10deac3c8fcb37dc 1107c83d1e0e1c9c 16ba242b5281d5d7 17a198a90ab4d103 1912782189fdb428
    1c4ab89351733116 2087208daa213a55 27029c10a6fd2548 2988ff4cffbfe663 29dee5ebb48ea80e 29e331e1e6c2643e
    2b89d5dd4ec0d5fa 2e12236193731ba6 2f517a190db5ab9c 324c1eb557655bbb 32de185fdf4b9fd0 3defe99e79cda03d
    3e573b7ebddeb43b 401952d83030adc9 43b2b4bdd8486ffc 44518888bb3e7805 45497980cbc8aff1 457e5086b0e198ab
    45d1297cd77558ef 46053b5c4bb2c765 4928738dcc21bd03 49fdc8f0d8f2b38c 4c27b49427574075 554af14f6574486e
    5a5aec841fdf57b1 5b7d2d4b3705f22b 5c31388e3fec4a8e 5ca086412e152ec2 5dc4631e1ace0cd4 5e0a041e30d17498
    612a75b0ae9780a1 62dbd4bcc9027eec 6480a4d7231358ae 6673c5d144c143cb 67e3df880ba9dae2 686458b8c5eb435d
    697aac5ac6006b4d 6ee28bf9ab78705a 783ea7c0455d3215 7afe8d1ef7285d5a 7b4ac6e6de741b5f 7e0dde389b13e0ed
    7e82944ccfbbeaaa 7e9c02aa657e52c6 7ec0032f5285044a 7ee0a11ef2115f59 826e0fd9a88ef5e1 86335bbf499ae97d
    86b12bc64c4c3450 86c8c06340f99d3d 87eed626377e06cc 87f044e250308268 88810f735429c493 8a4befa611e2ccb0
    8bdc9dfff70587e3 8e0c646fc40e66d6 922163feb2b52010 943423239c9f6503 954fde1f35484da8 99b2c69dc247a971
    9b2215c6b7c47171 9b461e038c11bd61 9dd08fbad5fd61df a26a66f849852722 a286e774fcd11862 a6ef8039618ace69
    a7d2b421bc1577eb a94ff8cf43c91c5e ab20e919541fb0ce ab40bc02879aff12 ab87e86a5c271f96 acfd89e09a49c88e
    ae6189ef599d4f60 af3bd1b15f38191c b0050912ad04e634 b0706775ce310c13 b2300e77881c1cc1 b60aa01f1cde740b
    b9a8ee558db7cc4c ba5dd5ece8af34e7 bb4c3413f8d3f2e3 bc1a391a3d1e4af6 bc80ed55f3789add bcfcacb764167eee
    c006eb4284f1825b c107f8fbfdab7096 c42e494b35980d7e c50b7e0a3ef2ba45 cb57c4cb055d1fb1 cbe80691ee42aea9
    cc2c85d1c6435529 cdbb6ddb86a36511 cf84d97cb208844d d40a8e18a93fb787 d492a5299042f444 db73c83cbe63d9a9
    db7f521f90ce333d dc66e7a6ad676217 de254a63a49e2904 dea9e5b2c527aaea ded049a971427def dfaf944c1677f79a
    e058364a6ed69968 e220784b2b640781 e3167e4a89667ae1 e6035ff6f44894f5 ea202226d1aa2149 ea3c172976ee8bc2
    eae39a74f35d4a1c ebacd0ca6cfecb0c ebd5774729875d91 ec0c1f5269f52b6c ec2099d37755607f ed35482ccc0106a1
    ef154e17ae5193b5 f21cf78f64acbf2c f30ce38dba2c0245 f31ea26d96a22bf0 f4ae1bd54e511725 f6c44bc15ea20d37
    fc123220c58d5e25 fd79b7c9cc5ccbfe fe921dd866498831 fefc068505916602
    """.split()
)
"""Digests of the default keys of well-known projects, and of the hashes of some words. No key is here as text."""
